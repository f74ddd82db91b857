#!/usr/bin/env bash
# The tests of three projects that test with SoftHSM, run on SoftHSM first and then on us: their files are as their registries have them, and the
# path of the module is all that changes. Each test must come to the same end, or stand in projects.differences with the reason.
#
#   softhsm-compat/projects.sh              all three
#   softhsm-compat/projects.sh NAME...      some of them: rust-cryptoki python-pkcs11 go-pkcs11
#
# STRONGROOM_BIN_DIR names a directory with programs that are built already. Prints "project: N same, M differ".
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
. "$root/.ci/packages.sh"

projects=(rust-cryptoki python-pkcs11 go-pkcs11)
[ $# -eq 0 ] || projects=("$@")
softhsm=/usr/lib/softhsm/libsofthsm2.so
need_packages opensc softhsm2
target=${CARGO_TARGET_DIR:-$root/target}
bin=${STRONGROOM_BIN_DIR:-$target/debug}
if [ -z "${STRONGROOM_BIN_DIR-}" ]; then
    cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p strongroomd -p strongroom-pkcs11 || exit 1
fi
mkdir -p "$target"
target=$(cd "$target" && pwd)
bin=$(cd "$bin" && pwd)

# What is made here goes with the script; a daemon ends with its directory.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/softhsm"
# The tests of cryptoki look for SoftHSM's name in the path.
ours=$work/softhsm/libsofthsm2.so
ln -s "$bin/libstrongroom_pkcs11.so" "$ours"
export STRONGROOM_DAEMON=$bin/strongroomd
unset STRONGROOM_HOME STRONGROOM_SOCKET STRONGROOM_CONFIG STRONGROOM_SOFTHSM

# An empty token: place DIRECTORY, token MODULE LABEL SO-PIN USER-PIN.
place() {
    rm -rf "$1"
    mkdir -p "$1/tokens"
    printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$1/tokens" >"$1/softhsm2.conf"
    export SOFTHSM2_CONF=$1/softhsm2.conf
}
token() {
    pkcs11-tool --module "$1" --init-token --slot-index 0 --label "$2" --so-pin "$3" >/dev/null 2>&1 &&
        pkcs11-tool --module "$1" --init-pin --token-label "$2" --so-pin "$3" --pin "$4" >/dev/null 2>&1
}

# --- cryptoki, Rust: the tests that its crate brings along. The crate is in our lock file, which has its checksum.
prepare_rust_cryptoki() {
    local crate
    crate=$(cargo metadata --locked --format-version 1 --manifest-path "$root/Cargo.toml" |
        python3 -c 'import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cryptoki"))') || return 1
    # Outside of our workspace, which would claim it.
    cryptoki=$work/cryptoki
    cp -r "$crate" "$cryptoki" || return 1
    # By the lock file of the crate itself.
    CARGO_TARGET_DIR=$target/projects cargo test --quiet --locked --no-run --message-format json --manifest-path "$cryptoki/Cargo.toml" |
        python3 -c 'import json, sys
for line in sys.stdin:
    one = json.loads(line)
    if one.get("executable") and "test" in one["target"]["kind"]:
        print(one["target"]["name"], one["executable"])' >"$work/cryptoki.suites"
    [ -s "$work/cryptoki.suites" ]
}
run_rust_cryptoki() {
    local suite program
    token "$1" first abcdef654321 1234 || return 1
    while read -r suite program; do
        (cd "$cryptoki" && TEST_PKCS11_MODULE=$1 timeout 300 "$program" --test-threads=1 </dev/null 2>&1) |
            sed -n "s/^test \(.*\) \.\.\. \(ok\|FAILED\|ignored\).*$/$suite::\1 \2/p"
    done <"$work/cryptoki.suites"
}

# --- python-pkcs11, Python: the tests of its source archive, with the package as PyPI has it.
prepare_python_pkcs11() {
    local environment=$target/projects-python
    need_packages python3-venv
    [ -x "$environment/bin/python" ] || python3 -m venv "$environment" || return 1
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/projects.python" || return 1
    # The archive for its tests, which the built package has not; the same version. Asking for an archive makes pip look into it, so once.
    compgen -G "$environment/python_pkcs11-*.tar.gz" >/dev/null ||
        timeout 300 "$environment/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary python-pkcs11 \
            -d "$environment" "$(grep '^python-pkcs11==' "$here/projects.python")" || return 1
    tar -xzf "$environment"/python_pkcs11-*.tar.gz -C "$work" || return 1
    mkdir "$work/python"
    # Apart from the sources, whose unbuilt package would come before the built one.
    mv "$work"/python_pkcs11-*/tests "$work/python/"
}
run_python_pkcs11() {
    token "$1" TEST 5678 1234 || return 1
    (cd "$work/python" && PKCS11_MODULE=$1 PKCS11_TOKEN_LABEL=TEST PKCS11_TOKEN_PIN=1234 PKCS11_TOKEN_SO_PIN=5678 \
        timeout 300 "$target/projects-python/bin/python" -m pytest -v -p no:cacheprovider tests </dev/null 2>&1) |
        sed -n 's/^tests\/\([^ ]*\) \(PASSED\|FAILED\|SKIPPED\|ERROR\|XFAIL\).*$/\1 \2/p'
}

# --- miekg/pkcs11, Go: the tests of Debian's package of its sources.
prepare_go_pkcs11() {
    need_packages golang-go golang-github-miekg-pkcs11-dev
    mkdir -p "$work/go/src/github.com/miekg"
}
run_go_pkcs11() {
    local sources=$work/go/src/github.com/miekg/pkcs11
    rm -rf "$sources"
    cp -r /usr/share/gocode/src/github.com/miekg/pkcs11 "$sources"
    # They name their own configuration, with a directory of tokens beside it.
    rm -rf "$sources"/test_data/*
    (
        cd "$sources" || exit 1
        export SOFTHSM2_CONF=$sources/softhsm2.conf
        token "$1" test 5678 1234 || exit 1
        GO111MODULE=off GOFLAGS='' GOPATH=$work/go GOCACHE=$target/projects-go SOFTHSM_LIB=$1 timeout 300 go test -v . </dev/null 2>&1
    ) | sed -n 's/^ *--- \(PASS\|FAIL\|SKIP\): \([^ ]*\).*$/\2 \1/p'
}

# The two ends of every test, side by side, and what is known of it.
compared() {
    local name=$1
    awk -v name="$name" -v FS=' ' '
        FILENAME == ARGV[1] { if ($0 !~ /^#/ && $1 == name) { known[$2] = $3 " " $4; } next }
        FILENAME == ARGV[2] { theirs[$1] = $2; next }
        { ours[$1] = $2 }
        END {
            for (test in theirs) if (!(test in ours)) ours[test] = "absent"
            for (test in ours) {
                them = (test in theirs) ? theirs[test] : "absent"
                if (them == ours[test]) { same++; continue }
                if ((test in known) && known[test] == them " " ours[test]) { differ++; used[test] = 1; continue }
                wrong++; printf "   %s: %s on SoftHSM, %s on us\n", test, them, ours[test]
            }
            for (test in known) if (!(test in used)) { wrong++; printf "   %s: the row of projects.differences is out of date\n", test }
            printf "%s: %d same, %d differ as known, %d differ\n", name, same, differ, wrong
            exit (wrong > 0 || same == 0)
        }' "$here/projects.differences" "$work/$name.theirs" "$work/$name.ours"
}

code=0
for name in "${projects[@]}"; do
    function=${name//-/_}
    "prepare_$function" || { say "$name: cannot be prepared"; code=1; continue; }
    place "$work/theirs"
    "run_$function" "$softhsm" | sort >"$work/$name.theirs"
    place "$work/ours"
    "run_$function" "$ours" | sort >"$work/$name.ours"
    compared "$name" || code=1
done
exit $code
