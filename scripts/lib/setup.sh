# Set-up shared by the scripts of this folder: messages, Debian packages, a virtual environment.
# Sourced by bash, never run. Works as root and as a user who may use sudo; safe to run again.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

PACKAGES_TO_RUN=(ca-certificates libportaudio2 libasound2-plugins alsa-utils ffmpeg)
PACKAGES_TO_BUILD=(gcc pkg-config python3-dev python3-venv libsystemd-dev)
PACKAGES_TO_SPEAK=(flite pulseaudio pulseaudio-utils)
EXTRAS_OF_THE_SERVICE=silero,pocketsphinx,systemd,mqtt,resample
PACKAGES_TO_TEST=(systemd procps logrotate mosquitto mosquitto-clients groff-base)

say() { printf '\n==> %s\n' "$*"; }

# fail MESSAGE [REMEDY]
fail() {
    printf '\n%s: %s\n' "${0##*/}" "$1" >&2
    [ -z "${2:-}" ] || printf '%s\n' "$2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "cannot run as root: $*" "Run this script as root, or install sudo."
    fi
}

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
    local name missing=()
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "there is no apt-get here" "Install what your system calls these packages: ${missing[*]}."
    say "Installing Debian packages: ${missing[*]}"
    as_root apt-get -qq update ||
        fail "apt-get update failed" "Look at the messages above: is the network there, and is /etc/apt right?"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install: ${missing[*]}" "Try 'apt-get install ${missing[*]}' by hand and read what it says."
}

# find_python MINOR: prints the path of a working Python 3.MINOR; returns 1 where there is none.
find_python() {
    local candidate
    for candidate in "python3.$1" "$HOME"/.pyenv/versions/3."$1"*/bin/python3 "$HOME"/.local/bin/python3."$1"; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[1] != int(sys.argv[1]))' "$1" 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

# default_python: prints the path of the Python to use, 3.11 or later; the oldest supported is preferred.
default_python() {
    local minor
    for minor in 11 12 13; do
        find_python "$minor" && return 0
    done
    fail "no Python 3.11 or later was found" "Debian 12 and later have it: apt-get install python3 python3-venv."
}

# make_venv DIR PYTHON EXTRAS: makes or repairs a virtual environment with this project in it, editable.
# Does nothing where the last set-up came to its end and nothing it depends on has changed since.
make_venv() {
    local dir=$1 python=$2 extras=$3 stamp
    stamp=$(printf '%s %s %s %s' "$ROOT" "$("$python" -V)" "$extras" "$(sha256sum < "$ROOT/pyproject.toml")")
    if [ -x "$dir/bin/python" ]; then
        case "$(cat "$dir/.set-up" 2>/dev/null)" in
            "$stamp" | "${stamp/ $extras / dev }") return 0 ;;  # who develops has everything
        esac
    fi
    say "Setting up $dir ($("$python" -V))"
    "$dir/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$dir" ||
        fail "no virtual environment could be made in $dir" "Is the folder writable, and is python3-venv installed?"
    "$dir/bin/python" -m pip install -q -e "$ROOT[$extras]" ||
        fail "pip could not install the Python packages" "Look at the messages above: is the network there?"
    printf '%s' "$stamp" > "$dir/.set-up"
}
