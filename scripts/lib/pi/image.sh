# The disk, kernel and initrd of the emulated machine. Sourced by bash after setup.sh and debian_root.sh.

# Of the disk: what the package depends on is there already, because the machine has no network.
ON_THE_DISK=systemd,systemd-sysv,dbus,udev,kmod,sudo,iproute2,procps,psmisc,logrotate,less
ON_THE_DISK+=,ca-certificates,python3,libportaudio2,libasound2-plugins,libsystemd0,alsa-utils

# pi_image DIR: makes DIR/disk.raw, DIR/kernel and DIR/initrd, unless they are there and up to date.
pi_image() {
    local dir=$1 stamp
    stamp=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/lib/pi/agent.sh" "$ROOT/scripts/lib/pi/recordings.sh" | sha256sum)
    [ "$(cat "$dir/.made-of" 2>/dev/null)" != "$stamp" ] || return 0
    debian_root "$dir/root" bookworm arm64 "$ON_THE_DISK"
    [ -e "$dir/kernel" ] || _kernel "$dir"
    say "Making the disk"
    as_root "$ROOT/scripts/lib/pi/recordings.sh" "$dir/root/srv"
    _settle "$dir/root"
    _initrd "$dir"
    as_root rm -f "$dir/disk.raw" "$dir/installed.qcow2"
    as_root truncate -s 3G "$dir/disk.raw"
    as_root mkfs.ext4 -q -L root -d "$dir/root" "$dir/disk.raw"
    as_root tee "$dir/.made-of" <<< "$stamp" > /dev/null
}

# Debian's own kernel for arm64, taken out of its package: nothing boots through a boot loader here.
_kernel() {
    local dir=$1 image
    say "Fetching the kernel"
    image=$(as_root chroot "$dir/root" sh -c 'apt-get -qq update >&2 &&
        apt-cache depends linux-image-arm64 | sed -n "s/.*Depends: \(linux-image-.*\)/\1/p"' | head -n 1)
    as_root chroot "$dir/root" sh -c "cd /tmp && apt-get -qq -o APT::Sandbox::User=root download $image busybox-static" ||
        fail "no kernel could be fetched" "Is the network there?"
    as_root rm -rf "$dir/unpacked"
    as_root mkdir -p "$dir/unpacked"
    for package in "$dir"/root/tmp/*.deb; do
        as_root dpkg-deb -x "$package" "$dir/unpacked"
        as_root rm "$package"
    done
    as_root cp -a "$dir"/unpacked/lib/modules "$dir/root/usr/lib/"
    as_root depmod -b "$dir/root" "$(ls "$dir/root/usr/lib/modules")"
    as_root cp "$dir"/unpacked/boot/vmlinuz-* "$dir/kernel"
}

# A name, a person who may use sudo as on Raspberry Pi OS, a network that is asked for an address and
# never gets one, and a shell for the test.
_settle() {
    local root=$1
    as_root sh -c "rm -rf '$root'/var/lib/apt/lists/* '$root'/var/cache/apt/*.bin '$root'/var/cache/apt/archives/*.deb"
    as_root tee "$root/etc/hostname" <<< raspberrypi > /dev/null
    as_root tee "$root/etc/hosts" <<< "127.0.0.1 localhost raspberrypi" > /dev/null
    as_root tee "$root/etc/fstab" <<< "LABEL=root / ext4 noatime,errors=remount-ro 0 1" > /dev/null
    as_root mkdir -p "$root/var/log/journal"
    as_root tee "$root/etc/systemd/network/wired.network" <<< $'[Match]\nName=e*\n[Network]\nDHCP=yes' > /dev/null
    as_root chroot "$root" systemctl -q enable systemd-networkd.service
    as_root chroot "$root" id pi > /dev/null 2>&1 || as_root chroot "$root" useradd -m -s /bin/bash -G sudo,adm,audio pi
    as_root tee "$root/etc/sudoers.d/010_pi-nopasswd" <<< "pi ALL=(ALL) NOPASSWD: ALL" > /dev/null
    as_root chroot "$root" systemd-machine-id-setup 2> /dev/null
    as_root ln -sf /dev/null "$root/etc/systemd/system/serial-getty@ttyAMA0.service"
    as_root install -m 0755 "$ROOT/scripts/lib/pi/agent.sh" "$root/usr/local/sbin/test-agent"
    as_root tee "$root/etc/systemd/system/test-agent.service" > /dev/null <<'UNIT'
[Unit]
BindsTo=dev-virtio\x2dports-agent.device
After=dev-virtio\x2dports-agent.device
[Service]
ExecStart=/usr/local/sbin/test-agent
OOMScoreAdjust=-1000
[Install]
WantedBy=multi-user.target
UNIT
    as_root chroot "$root" systemctl -q enable test-agent.service
}

# A shell, the modules that reach the disk, and a script that mounts it and hands over to its init.
_initrd() {
    local dir=$1 version module
    version=$(ls "$dir/root/usr/lib/modules")
    as_root rm -rf "$dir/first"
    as_root mkdir -p "$dir"/first/{bin,dev,proc,sys,disk,modules}
    as_root cp "$(find "$dir/unpacked" -path '*/bin/busybox')" "$dir/first/bin/"
    for module in virtio_mmio virtio_blk ext4; do
        modprobe -d "$dir/root" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
        as_root cp "$module" "$dir/first/modules/"
        echo "${module##*/}"
    done | as_root tee "$dir/first/modules/in-order" > /dev/null
    as_root tee "$dir/first/init" > /dev/null <<'INIT'
#!/bin/busybox sh
busybox() { /bin/busybox "$@"; }
busybox mount -t devtmpfs none /dev
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
while read -r module; do busybox insmod "/modules/$module"; done < /modules/in-order
# Which disk is the first is for qemu to say: take the one that is a file system.
until [ -d /disk/etc ]; do
    for disk in /dev/vd?; do busybox mount -t ext4 -o noatime "$disk" /disk 2> /dev/null && break; done
done
busybox umount /sys /proc
exec /bin/busybox switch_root /disk /sbin/init
INIT
    as_root chmod +x "$dir/first/init"
    (cd "$dir/first" && find . | as_root cpio --quiet -o -H newc) | gzip | as_root tee "$dir/initrd" > /dev/null
}
