"""Reads the generated headers: structs with their fields, opaque types and functions. For the generators beside it.

The headers are written by one tool in one style, so a few regular expressions read them; what does not fit is an error.
"""

import re
from collections import namedtuple

Field = namedtuple("Field", "type name")
Function = namedtuple("Function", "result name params doc")
Header = namedtuple("Header", "structs opaque callbacks functions")


def declarator(text):
    """`const double *x` or `void (*f)(int)` as a type and a name; the type of a function pointer is `function`."""
    text = " ".join(text.split())
    pointer = re.search(r"\(\*(\w+)\)\(", text)
    if pointer:
        return Field("function", pointer[1])
    match = re.fullmatch(r"(.*?)(\w+)", text)
    return Field(match[1].replace("struct ", "").replace(" *", "*").strip(), match[2])


def split(text):
    """Parameters, at the commas that are outside of parentheses."""
    out, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            out.append("")
        else:
            out[-1] += letter
    return [part for part in out if part.strip() not in ("", "void")]


def read(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    code = re.sub(r"//[^\n]*", "", text)
    structs = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", code, flags=re.S):
        structs[name] = [declarator(field) for field in body.split(";") if field.strip()]
    opaque = re.findall(r"typedef struct (\w+) \1;", code)
    callbacks = re.findall(r"typedef \w+ \(\*(\w+)\)\(", code)
    functions = []
    pattern = r"((?://[^\n]*\n)*)^(\w[\w \*]*?)\b(wf_\w+)\(([^;{}]*)\);"
    for comment, result, name, params in re.findall(pattern, text, flags=re.M):
        if result.startswith("typedef"):
            continue
        doc = " ".join(line.strip("/ ") for line in comment.splitlines())
        result = result.replace("struct ", "").replace(" *", "*").strip()
        functions.append(Function(result, name, [declarator(param) for param in split(params)], doc))
    # Every line that closes a prototype was understood.
    body = code.split('extern "C" {')[-1] if functions else ""
    assert body.count(");") == len(functions), f"{path}: {body.count(');')} prototypes, {len(functions)} understood"
    return Header(structs, opaque, callbacks, functions)
