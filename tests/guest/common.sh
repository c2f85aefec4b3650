# What the guest scripts share: messages, the cache directory, packages.
# Sourced by prepare, prepare-root, boot and tests/demo; POSIX sh.
#
# The directory of artefacts is $GUEST_CACHE, or guest/ in cargo's target
# directory; deleting it makes the next run start afresh.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source_root=${here%/tests*}
cache=${GUEST_CACHE:-${CARGO_TARGET_DIR:-$source_root/target}/guest}
mkdir -p "$cache" && cache=$(CDPATH='' cd -- "$cache" && pwd)

# Exit status that means "cannot be done here, and the last line says why".
readonly SKIP=77

say() {
    printf '%s\n' "$*" >&2
}

skip() {
    say "skipped: $*"
    exit "$SKIP"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root or sudo: $*"
        return 1
    fi
}

# One script at a time fills the cache: tests may run in several processes.
lock_cache() {
    exec 9>"$cache/lock"
    flock 9
}

# Runs an apt command; if it fails, once more with fresh package lists, which
# a new machine may not have at all and an old one may have outdated.
with_package_lists() {
    "$@" >&2 && return
    say "reading apt's package lists anew"
    as_root apt-get -q update >&2 && "$@" >&2
}

# install_missing COMMAND PACKAGE [COMMAND PACKAGE]...
# Installs the Debian or Ubuntu package of each command that is not there.
install_missing() {
    missing=
    while [ $# -gt 0 ]; do
        if ! PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; then
            say "installing $2 (for $1)"
            missing="$missing $2"
        fi
        shift 2
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || skip "missing:$missing, and this machine has no apt-get to install it"
    # shellcheck disable=SC2086 # one word per package
    with_package_lists as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install $missing ||
        skip "apt-get could not install:$missing"
}
