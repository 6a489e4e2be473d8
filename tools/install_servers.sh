#!/bin/bash
# Installs what the tests need of the system and is missing: Python's venv module, PostgreSQL and MariaDB,
# Chromium, and PKCS#11 tokens: SoftHSM, NSS through p11-kit's proxy, openCryptoki, p11-kit's remoting, and a
# TPM in software.
# Usage: install_servers.sh [PACKAGE...]   (all of the packages below without arguments)
#
# It uses apt-get as root or by sudo without a password, starts no service, says what it could not do and
# succeeds all the same: the tests of a server that is not there are then skipped, or fail where all of
# them are required.
set -euo pipefail
cd "$(dirname "$0")"

wanted=("$@")
TOKENS=(softhsm2 libnss3 p11-kit-modules p11-kit opencryptoki swtpm dbus-daemon tpm2-abrmd libtss2-tcti-swtpm0
    libtss2-tcti-tabrmd0 libtpm2-pkcs11-1)
[ $# -gt 0 ] || wanted=(python3-venv postgresql mariadb-server tokens chromium)
[[ " ${wanted[*]} " != *" tokens "* ]] || wanted=("${wanted[@]/tokens/}" "${TOKENS[@]}")
POLICY=/usr/sbin/policy-rc.d

has_python() { ./find_python.sh >/dev/null 2>&1; }
has_postgresql() { command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'; } >/dev/null
has_mariadb() { PATH="$PATH:/usr/sbin:/usr/libexec" command -v mariadbd >/dev/null; }

has_library() { compgen -G "/usr/lib/*/$1" || compgen -G "/usr/lib/$1" || compgen -G "/usr/lib64/$1"; } >/dev/null
has_program() { PATH="$PATH:/usr/sbin" command -v "$1"; } >/dev/null
has_softhsm() { command -v softhsm2-util && has_library 'softhsm/libsofthsm2.so'; } >/dev/null

is_there() {
    case $1 in
        python3-venv) has_python ;;
        postgresql) has_postgresql ;;
        mariadb-server) has_mariadb ;;
        softhsm2) has_softhsm ;;
        libnss3) has_library libsoftokn3.so ;;
        p11-kit-modules) has_library p11-kit-proxy.so && has_library pkcs11/p11-kit-client.so ;;
        p11-kit | swtpm | dbus-daemon | tpm2-abrmd | chromium) has_program "$1" ;;
        opencryptoki) has_program pkcsslotd && has_library pkcs11/libopencryptoki.so ;;
        libtss2-tcti-swtpm0) has_library 'libtss2-tcti-swtpm.so.*' ;;
        libtss2-tcti-tabrmd0) has_library 'libtss2-tcti-tabrmd.so.*' ;;
        libtpm2-pkcs11-1) has_library pkcs11/libtpm2_pkcs11.so ;;
        *) echo "not one of the packages of this script: $1" >&2; exit 2 ;;
    esac
}

find_missing() {
    missing=()
    for package in "${wanted[@]}"; do
        [ -z "$package" ] || is_there "$package" || missing+=("$package")
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || { echo "there is no apt-get here"; return 1; }
    as_root true 2>/dev/null || { echo "that takes root, or sudo without a password"; return 1; }
}

# While packages are installed, this file tells them to start no service. One that is there already stays.
forbid_services() {
    [ -e "$POLICY" ] && return
    trap 'as_root rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

find_missing
[ ${#missing[@]} = 0 ] && exit 0

echo "missing: ${missing[*]}"
if reason=$(may_install); then
    forbid_services
    log=$(mktemp)
    apt update >"$log" 2>&1 || { echo "the package lists could not be updated:"; tail -n 5 "$log"; }
    for package in "${missing[@]}"; do
        echo "installing $package"
        apt install --no-install-recommends "$package" >"$log" 2>&1 || tail -n 15 "$log"
    done
    rm -f "$log"
else
    echo "not installed: $reason"
fi

find_missing
[ ${#missing[@]} = 0 ] || echo "still missing: ${missing[*]}"
