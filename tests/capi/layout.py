"""Writes a program, C11 and C++17 alike, that prints size, alignment and field offsets of every struct of a header.

Usage: python3 layout.py HEADER...
"""

import os
import sys

import header


def main():
    lines = ["#include <stdio.h>"]
    lines += [f'#include "{os.path.basename(path)}"' for path in sys.argv[1:]]
    lines += ["#ifdef __cplusplus", "#define ALIGN(type) alignof(type)", "#else"]
    lines += ["#define ALIGN(type) _Alignof(type)", "#endif", "int main(void) {"]
    for path in sys.argv[1:]:
        structs = header.read(path).structs
        assert structs, f"{path} has no structs"
        for name, fields in structs.items():
            lines.append(f'    printf("{name} %zu %zu\\n", sizeof({name}), (size_t)ALIGN({name}));')
            for field in fields:
                what = f"{name}.{field.name}"
                size = f"sizeof((({name} *)0)->{field.name})"
                lines.append(f'    printf("{what} %zu %zu\\n", offsetof({name}, {field.name}), {size});')
    print("\n".join(lines + ["    return 0;", "}"]))


main()
