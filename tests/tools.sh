#!/bin/sh
# What `make test` needs beside Rust, gcc, g++, make and Python 3. Installs what is missing where it runs as root on Debian
# or Ubuntu, and otherwise names it.
#   sh tests/tools.sh                       installs what is missing
#   sh tests/tools.sh --packages [TOOL]...  prints the packages for the given tools, or for those that are missing
set -eu

# One missing tool per line, by the names that `packages_for` takes.
missing() {
    for tool in clang clang++ valgrind cmake pkg-config; do
        command -v "$tool" >/dev/null 2>&1 || echo "$tool"
    done
    # clang without its run-time libraries cannot build for the sanitizers, and valgrind without the symbols of libc cannot
    # start.
    probe=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$probe/probe.c"
    clang -fsanitize=address,undefined "$probe/probe.c" -o "$probe/probe" >/dev/null 2>&1 || echo sanitizers
    { gcc "$probe/probe.c" -o "$probe/probe" && valgrind --quiet "$probe/probe"; } >/dev/null 2>&1 || echo libc-symbols
    rm -rf "$probe"
}

# The version of the clang that is installed, else of the one that the package `clang` would install.
clang_version() {
    version=$(clang --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p' | head -n 1)
    [ -n "$version" ] || version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    echo "$version"
}

packages_for() {
    packages=
    for tool in "$@"; do
        case $tool in
        clang | clang++) package=clang ;;
        libc-symbols) package=libc6-dbg ;;
        valgrind | cmake | pkg-config) package=$tool ;;
        sanitizers)
            version=$(clang_version)
            [ -n "$version" ] || { echo "tests/tools.sh: no version of clang found: run apt-get update" >&2; exit 1; }
            package=libclang-rt-$version-dev
            ;;
        *) echo "tests/tools.sh: unknown tool '$tool'" >&2; exit 1 ;;
        esac
        case " $packages " in
        *" $package "*) ;;
        *) packages="$packages $package" ;;
        esac
    done
    echo "${packages# }"
}

if [ "${1-}" = --packages ]; then
    shift
    [ $# -gt 0 ] || set -- $(missing)
    packages_for "$@"
    exit
fi
[ $# = 0 ] || { echo "usage: sh tests/tools.sh [--packages [TOOL]...]" >&2; exit 2; }

lacking=$(missing)
[ -n "$lacking" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    packages=$(packages_for $lacking)
    echo "tests/tools.sh: installing $packages"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    lacking=$(missing)
fi
if [ -n "$lacking" ]; then
    echo "tests/tools.sh: the tests need:" $lacking >&2
    if command -v apt-cache >/dev/null 2>&1; then
        echo "tests/tools.sh: as root: apt-get install --no-install-recommends $(packages_for $lacking)" >&2
    fi
    exit 1
fi
