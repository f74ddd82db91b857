# Debian packages and the Rust toolchain: installs what is missing. Sourced by ./run and ./test; does nothing by itself.

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need_packages NAME... : installs those that are missing, as root or by sudo; otherwise says which.
need_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null || {
        say "This is no Debian. Needed are the counterparts of these packages: $*"
        return 0
    }
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing and there is no sudo; as root run: apt-get install ${missing[*]}"
        as_root=(sudo)
        # Without a terminal nobody can answer the question for the password.
        [ -t 0 ] || as_root=(sudo -n)
    fi
    local log
    log=$(mktemp)
    install_quietly </dev/null >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "the packages above could not be installed; as root run: apt-get install ${missing[*]}"
    }
    rm -f "$log"
}

# Installs the packages of need_packages. In a process of its own, so that it tidies up when it is interrupted, too.
install_quietly() (
    # Servers that are installed to be tested are not started by that (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '"${as_root[@]}" rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy && "${as_root[@]}" chmod 755 $policy || exit 1
    fi
    # Java's package fails on images without manual pages: its links go there.
    "${as_root[@]}" mkdir -p /usr/share/man/man1 &&
        "${as_root[@]}" apt-get update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends "${missing[@]}"
)

# need_rust [COMPONENT...] : finds cargo, and the components by rustup where they are missing.
need_rust() {
    command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    command -v cargo >/dev/null || die "there is no cargo; install Rust from https://rustup.rs or your distribution"
    local component
    for component in "$@"; do
        "cargo-$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || die "cargo $component is missing; install it with your Rust toolchain"
        rustup component add "${component/#fmt/rustfmt}" </dev/null || die "cargo $component could not be installed"
    done
}
