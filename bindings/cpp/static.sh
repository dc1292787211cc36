#!/bin/sh
# Makes the static library for C and C++ programs out of the archive that cargo builds.
#
# Cargo's archive shows every symbol of Rust's standard library and of all crates inside, which clash with those of a
# program that has Rust in it as well. Here all that the exported functions need is linked into one object, and whatever
# is not in the list of exported functions becomes local.
#
# usage: static.sh CARGO_ARCHIVE SYMBOL_LIST OUT.a
set -eu
archive=$1 list=$2 out=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
roots=$(sed 's/^/-u /' "$list")
# Groups are for linkers that see several copies of a section; of a group whose name became local one would be dropped.
# shellcheck disable=SC2086
ld -r --gc-sections --force-group-allocation $roots "$archive" -o "$work/walkforge.o"
# Copies of the code for link-time optimisation are of no use now, and tools with an older LLVM stumble over them.
objcopy --keep-global-symbols="$list" --remove-section=.llvmbc --remove-section=.llvmcmd "$work/walkforge.o"
rm -f "$out"
ar crs "$out" "$work/walkforge.o"
