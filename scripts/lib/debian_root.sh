# A Debian of its own in a folder, made with debootstrap. Sourced by bash after setup.sh.

# debian_root DIR SUITE ARCHITECTURE PACKAGES: makes DIR a Debian with these packages (separated by
# commas), unless it is one already. Another architecture than ours runs through qemu-user-static.
debian_root() {
    local dir=$1 suite=$2 arch=$3 packages=$4 mirror log
    [ ! -e "$dir/.complete" ] || return 0
    say "Making a Debian root ($suite, $arch) in $dir: this takes a few minutes, once"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Origin: Debian" "Component: main" "Created-By: Packages" |
        grep -v -e security -e file: | head -n 1)
    log=$(mktemp)
    as_root rm -rf --one-file-system "$dir"
    _bootstrap "$dir" "$suite" "$arch" "$packages" "$mirror" > "$log" 2>&1 ||
        fail "debootstrap failed: see $log" "Is the network there?"
    rm -f "$log"
    as_root touch "$dir/.complete"
}

_bootstrap() {
    local dir=$1 suite=$2 arch=$3 packages=$4 mirror=$5
    if [ "$arch" = "$(dpkg --print-architecture)" ]; then
        as_root debootstrap --variant=minbase --include="$packages" "$suite" "$dir" ${mirror:+"$mirror"}
        return
    fi
    _register_qemu "$arch"
    as_root debootstrap --foreign --arch="$arch" --variant=minbase --include="$packages" "$suite" "$dir" \
        ${mirror:+"$mirror"} &&
        as_root chroot "$dir" /debootstrap/debootstrap --second-stage
}

# Where systemd runs, its binfmt service has done this long since.
_register_qemu() {
    local name
    case $1 in
        arm64) name=qemu-aarch64 ;;
        *) fail "no emulator is known for $1" "Use --arch with amd64 or arm64." ;;
    esac
    [ -e /proc/sys/fs/binfmt_misc/register ] || as_root mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    [ -e "/proc/sys/fs/binfmt_misc/$name" ] ||
        as_root sh -c "cat /usr/lib/binfmt.d/$name.conf > /proc/sys/fs/binfmt_misc/register"
}
