#!/bin/sh
# Installs what C and C++ programs need: library (shared and static), headers, plugins, command, pkg-config and CMake.
# Everything finds the rest by relative paths, so the tree may be moved afterwards.
#
# usage: [DESTDIR=STAGE] install.sh FOLDER_OF_BUILT_LIBRARIES WALKFORGE_COMMAND PREFIX
set -eu
built=$1 command=$2 prefix=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
to=${DESTDIR:-}$prefix
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
soname=$(readelf -d "$built/libwalkforge.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ -n "$version" ] && [ -n "$soname" ]

mkdir -p "$to/bin" "$to/include" "$to/lib/walkforge/plugins" "$to/lib/pkgconfig" "$to/lib/cmake/walkforge"
install -m 755 "$command" "$to/bin/walkforge"
install -m 755 "$built/libwalkforge.so" "$to/lib/libwalkforge.so.$version"
ln -sf "libwalkforge.so.$version" "$to/lib/$soname"
ln -sf "$soname" "$to/lib/libwalkforge.so"
sh "$here/static.sh" "$built/libwalkforge.a" "$root/include/symbols.txt" "$to/lib/libwalkforge.a"
install -m 644 "$root/include/walkforge.h" "$root/include/walkforge_plugin.h" "$here/include/walkforge.hpp" "$to/include"
plugins=0
for plugin in "$built"/libwalkforge_*.so; do
    nm -D --defined-only "$plugin" | grep -q ' wf_plugin_init' || continue
    install -m 755 "$plugin" "$to/lib/walkforge/plugins"
    plugins=$((plugins + 1))
done
[ "$plugins" -gt 0 ]

fill() { sed -e "s/@VERSION@/$version/g" -e "s/@SONAME@/$soname/g" "$here/package/$1" >"$to/$2"; }
fill walkforge.pc lib/pkgconfig/walkforge.pc
fill walkforge-static.pc lib/pkgconfig/walkforge-static.pc
fill walkforge-config.cmake lib/cmake/walkforge/walkforge-config.cmake
fill walkforge-config-version.cmake lib/cmake/walkforge/walkforge-config-version.cmake
echo "installed walkforge $version with $plugins plugins in $to"
