#!/bin/sh
# Tests the choice of packages in tests/tools.sh, with what `apt-cache depends clang` prints on three distributions.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# A PATH with the commands of a distribution, and what two of them print: `apt-cache depends clang` and `clang --version`.
on() {
    rm -rf "$folder/bin"
    mkdir "$folder/bin"
    for command in sh sed head cat tr mktemp rm touch chmod; do
        ln -s "$(command -v "$command")" "$folder/bin/$command"
    done
    printf '%s' "$1" >"$folder/depends"
    printf '%s' "$2" >"$folder/version"
    [ -z "$1" ] || printf '#!/bin/sh\n[ "$*" = "depends clang" ] && cat %s\n' "$folder/depends" >"$folder/bin/apt-cache"
    [ -z "$2" ] || printf '#!/bin/sh\n[ "$*" = --version ] && cat %s\n' "$folder/version" >"$folder/bin/clang"
    chmod +x "$folder"/bin/*
}

expect() {
    wanted=$1
    shift
    found=$(PATH=$folder/bin sh tests/tools.sh --packages "$@" 2>&1) || found="failed: $found"
    if [ "$found" != "$wanted" ]; then
        echo "tests/tools_test.sh: '$*' gave '$found' instead of '$wanted'" >&2
        exit 1
    fi
}

all="clang clang++ valgrind cmake pkg-config sanitizers libc-symbols"
for version in 14 19 18; do # Debian 12, Debian 13, Ubuntu 24.04
    on "clang
  Depends: clang-$version
  Breaks: <clang-3.2>
  Breaks: <clang-3.5>
  Replaces: clang
  Replaces: <clang-3.2>
" ""
    expect "clang valgrind cmake pkg-config libclang-rt-$version-dev libc6-dbg" $all
    expect "libc6-dbg" libc-symbols
done
# A clang that is installed already decides, whatever the distribution's is.
on "clang
  Depends: clang-14
" "Debian clang version 16.0.6 (15~deb12u1)"
expect "libclang-rt-16-dev" sanitizers
on "" "Ubuntu clang version 18.1.3 (1ubuntu1)"
expect "libclang-rt-18-dev cmake" sanitizers cmake
# Without apt's lists the version is unknown.
on "" ""
expect "failed: tests/tools.sh: no version of clang found: run apt-get update" sanitizers
expect "failed: tests/tools.sh: unknown tool 'gdb'" gdb

# Root on a machine that has every tool but those named; apt-get notes its calls and installs them.
with_tools_but() {
    on "clang
  Depends: clang-19
" "Debian clang version 19.1.7"
    for command in clang++ valgrind cmake pkg-config gcc; do
        ln -s /bin/true "$folder/bin/$command"
    done
    printf '#!/bin/sh\necho 0\n' >"$folder/bin/id"
    printf '#!/bin/sh\ncase "$*" in *sanitize*) ;; *) cat %s ;; esac\n' "$folder/version" >"$folder/bin/clang"
    printf '#!/bin/sh\necho "$*" >>%s\nfor tool in %s; do : >%s/$tool; chmod +x %s/$tool; done\n' \
        "$folder/calls" "$*" "$folder/bin" "$folder/bin" >"$folder/bin/apt-get"
    chmod +x "$folder/bin/id" "$folder/bin/clang" "$folder/bin/apt-get"
    : >"$folder/calls"
    for command in "$@"; do
        rm "$folder/bin/$command"
    done
    PATH=$folder/bin sh tests/tools.sh >"$folder/out" 2>&1 || { cat "$folder/out" >&2; exit 1; }
}

with_tools_but
[ ! -s "$folder/calls" ] || { echo "tests/tools_test.sh: apt-get was called where nothing was missing" >&2; exit 1; }
with_tools_but cmake pkg-config
grep -q -- '^install .* cmake pkg-config$' "$folder/calls" || { cat "$folder/calls" "$folder/out" >&2; exit 1; }
echo "tests/tools_test.sh: ok"
