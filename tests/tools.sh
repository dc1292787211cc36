#!/bin/sh
# What `make test` needs beside Rust, gcc, g++, make and Python 3: installed where it is missing and may be, else named.
set -eu

missing() {
    for tool in clang clang++ valgrind cmake pkg-config; do
        command -v "$tool" >/dev/null 2>&1 || echo "$tool"
    done
    # clang without its run-time libraries cannot build for the sanitizers, and valgrind without the symbols of libc cannot
    # start.
    echo 'int main(void) { return 0; }' >"$work/probe.c"
    clang -fsanitize=address,undefined "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 || echo "sanitizers of clang"
    gcc "$work/probe.c" -o "$work/probe" && valgrind --quiet "$work/probe" >/dev/null 2>&1 || echo "valgrind that runs"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages="clang libclang-rt-14-dev valgrind libc6-dbg cmake pkg-config"
[ -z "$(missing)" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests/tools.sh: installing $packages"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
left=$(missing | tr '\n' ',' | sed 's/,$//; s/,/, /g')
if [ -n "$left" ]; then
    echo "tests/tools.sh: the tests need: $left" >&2
    echo "tests/tools.sh: on Debian 12, as root: apt-get install --no-install-recommends $packages" >&2
    exit 1
fi
