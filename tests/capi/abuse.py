"""Writes a C program that abuses every function of walkforge.h: each argument in turn is null, of the wrong type,
misaligned, out of range, too short or too large, not UTF-8; then any mixture of these, drawn from a seeded generator.

A function, parameter or struct that the header gains is taken up without a change here, as long as its types are known
and a valid value can be found; otherwise this script fails and says what it lacks. What a call must do:

- not crash, and return a code that exists, never that of an internal fault;
- fail where an argument is unusable ("bad"), or unusable in the company of valid ones ("conditional");
- on failure leave every out-parameter as it was, and store an error of the same code where one was asked for.

Not done, because C leaves it undefined: handles after they were freed, counts beyond the buffer they belong to (save
those that no memory could hold), memory that is not there.

Usage: python3 abuse.py walkforge.h > abuse.c; ./abuse CALLS SEED
"""

import re
import sys
from collections import namedtuple

import header

GOOD, ANY, BAD, CONDITIONAL = "good", "any", "bad", "conditional"

# One value of a parameter: statements that set it, and what it does to the call.
Choice = namedtuple("Choice", "label code kind")
# Declarations, choices, statements after a failed and after a good call.
Param = namedtuple("Param", "declarations choices failed passed")

# Parameters that may be null.
OPTIONAL = {
    ("wf_run_new", "panel"): CONDITIONAL,  # then the experiment must name its data, which ours does not
    ("wf_run_step", "progress"): GOOD,
    ("wf_run_metric", "reason"): GOOD,
    ("wf_runtime_new", "options"): GOOD,
}
# A valid value for each text and enum; numbers are 0 otherwise.
VALID = {
    ("wf_panel_read", "path"): 'text("tiny.csv")',
    ("wf_plugin_load", "name"): 'text("tiny")',
    ("wf_run_new", "experiment"): "text(TINY_EXPERIMENT)",
    ("wf_run_new", "folder"): 'text("")',
    ("wf_run_new", "format"): "WF_TOML",
    ("wf_run_read", "file"): 'text("tiny.toml")',
    ("wf_run_metric", "name"): 'text("sharpe")',
    ("wf_run_save", "folder"): 'text("saved")',
    ("wf_panel_add_feature", "name"): "fresh_name()",
    ("wf_runtime_register", "name"): "fresh_name()",
    ("wf_windows_new", "experiment"): "text(TINY_WINDOWS)",
    ("wf_panel_read", "kind"): "WF_PRICES",
    ("wf_code_name", "code"): "WF_OK",
    ("wf_run_audit", "dates"): "1",
    ("wf_run_weights", "row"): "fixture.due_row",
    ("wf_run_weights", "model"): "1",
}
# Counts that may be as large as they like.
UNBOUNDED = {("wf_run_audit", "dates")}
# Arrays that a call reads.
ARRAYS = {("wf_panel_add_feature", "values"): "tiny_prices"}
# Fields of structs that a caller hands over, where another value than these is unusable: (struct, field) to what null,
# misaligned, 0 and too much do. What is not here may do anything but crash.
FIELDS = {
    ("wf_panel_arrays", "dates"): {"null": BAD, "misaligned": BAD},
    ("wf_panel_arrays", "names"): {"null": BAD, "misaligned": BAD},
    ("wf_panel_arrays", "values"): {"null": BAD, "misaligned": BAD},
    ("wf_panel_arrays", "kind"): {"number": BAD},
    ("wf_panel_arrays", "rows"): {"0": BAD, "huge": BAD},
    ("wf_panel_arrays", "assets"): {"0": BAD, "huge": BAD},
    ("wf_panel_arrays", "row_stride"): {"0": GOOD, "huge": BAD},
    ("wf_panel_arrays", "asset_stride"): {"0": GOOD, "huge": BAD},
    ("wf_panel_arrays", "members"): {"null": GOOD},
    ("wf_path", "capacity"): {"0": CONDITIONAL, "1": CONDITIONAL},
    ("wf_path", "rows"): {"null": GOOD, "misaligned": CONDITIONAL},
    ("wf_path", "gross"): {"null": GOOD, "misaligned": CONDITIONAL},
    ("wf_path", "cost"): {"null": GOOD, "misaligned": CONDITIONAL},
    ("wf_path", "net"): {"null": GOOD, "misaligned": CONDITIONAL},
    ("wf_path", "turnover"): {"null": GOOD, "misaligned": CONDITIONAL},
    ("wf_runtime_options", "threads"): {"0": GOOD, "huge": BAD},
    ("wf_runtime_options", "log"): {"null": GOOD},
    ("wf_runtime_options", "log_data"): {"null": GOOD, "misaligned": GOOD},
    ("wf_runtime_options", "parallel_for"): {"null": GOOD},
    ("wf_runtime_options", "parallel_data"): {"null": GOOD, "misaligned": GOOD},
}
# Texts that are valid for nobody, and some that may be.
TEXTS = [
    ("null with a length", "slice_of(NULL, 5)", BAD),
    ("longer than memory", 'slice_of("x", SIZE_MAX)', BAD),
    ("longer than half of memory", 'slice_of("x", SIZE_MAX / 2 + 1)', BAD),
    ("not UTF-8", 'slice_of("a\\xff\\xfe", 3)', BAD),
    ("cut inside a letter", 'slice_of("\\xe2\\x82", 2)', BAD),
    ("empty", 'slice_of("", 0)', ANY),
    ("empty and null", "slice_of(NULL, 0)", ANY),
    ("with a zero byte", 'slice_of("a\\0b", 3)', ANY),
    ("a folder that is not there", 'text("/nowhere/at/all.so")', ANY),
    ("long", "slice_of(long_text, sizeof long_text)", ANY),
]
NUMBERS = ["-1", "2", "INT32_MAX", "INT32_MIN"]


def handle(parsed, function, param, kind):
    """A handle that the call uses."""
    name = param.name
    null = OPTIONAL.get((function.name, name), BAD)
    # A panel that grows with every call would be another one for all that follow.
    valid = "renewed_panel()" if param.type == "wf_panel*" else f"fixture.{kind[3:]}"
    choices = [Choice("valid", f"{name} = {valid};", GOOD), Choice("null", f"{name} = NULL;", null)]
    if kind == "wf_error":  # not a tagged handle: only null and errors may be passed
        return Param(f"const wf_error *{name} = NULL;", [choices[0], Choice("null", choices[1].code, GOOD)], "", "")
    if kind == "wf_run":
        choices.append(Choice("not yet stepped", f"{name} = fixture.fresh;", ANY))
    wrong = [f"fixture.{other[3:]}" for other in parsed.opaque if other != kind]
    wrong += ["nothing", f"misaligned(fixture.{kind[3:]})"]
    choices += [Choice(f"not a {kind}", f"{name} = ({param.type})(void *){value};", BAD) for value in wrong]
    return Param(f"{param.type} {name} = NULL;", choices, "", "")


def freed(parsed, param, kind):
    """A handle that the call frees; the ones of another type must be left alone."""
    name = param.name
    choices = [Choice("valid", f"{name} = make_{kind}();", GOOD), Choice("null", f"{name} = NULL;", GOOD)]
    if kind != "wf_error":
        wrong = [f"fixture.{other[3:]}" for other in parsed.opaque if other != kind]
        wrong += ["nothing", f"misaligned(fixture.{kind[3:]})"]
        choices += [Choice(f"not a {kind}", f"{name} = ({kind} *)(void *){value};", GOOD) for value in wrong]
    return Param(f"{kind} *{name} = NULL;", choices, "", "")


def made(param, kind):
    """A handle that the call makes."""
    name, store = param.name, f"{param.name}_store"
    declarations = f"struct {{ {kind} *value[2]; }} {store}; {kind} **{name} = NULL;\n"
    declarations += f"    memset(&{store}, PATTERN, sizeof {store});"
    choices = [
        Choice("valid", f"{name} = &{store}.value[0];", GOOD),
        Choice("null", f"{name} = NULL;", BAD),
        Choice("misaligned", f"{name} = ({kind} **)misaligned(&{store});", BAD),
    ]
    untouched = f'if (!patterned(&{store}, sizeof {store})) blame("wrote {name} and failed");'
    return Param(declarations, choices, untouched, f"{kind}_free({store}.value[0]);")


def out(function, param, kind, is_buffer):
    """Numbers or texts that the call writes."""
    name, store = param.name, f"{param.name}_store"
    count = "BUFFER" if is_buffer else "2"
    declarations = f"struct {{ {kind} value[{count}]; }} {store}; {kind} *{name} = NULL;\n"
    declarations += f"    memset(&{store}, PATTERN, sizeof {store});"
    null = OPTIONAL.get((function.name, name), CONDITIONAL if is_buffer else BAD)
    choices = [
        Choice("valid", f"{name} = {store}.value;", GOOD),
        Choice("null", f"{name} = NULL;", null),
        Choice("misaligned", f"{name} = ({kind} *)misaligned(&{store});", CONDITIONAL if is_buffer else BAD),
    ]
    untouched = f'if (!patterned(&{store}, sizeof {store})) blame("wrote {name} and failed");'
    read = f"if ({name} != NULL) touch({store}.value[0]);" if kind == "wf_string" else ""
    return Param(declarations, choices, untouched, read)


def struct_out(function, param, kind):
    """A struct that the call fills; it is larger than its type, so that a write beyond it is seen."""
    name, store = param.name, f"{param.name}_store"
    declarations = f"union {{ {kind} value; unsigned char bytes[sizeof({kind}) + SLACK]; }} {store};\n"
    declarations += f"    {kind} *{name} = NULL;\n"
    declarations += f"    memset(&{store}, PATTERN, sizeof {store}); {store}.value.struct_size = sizeof({kind});"
    sized = lambda size: f"{name} = &{store}.value; {store}.value.struct_size = {size};"
    choices = [
        Choice("valid", sized(f"sizeof({kind})"), GOOD),
        Choice("null", f"{name} = NULL;", OPTIONAL.get((function.name, name), BAD)),
        Choice("misaligned", f"{name} = ({kind} *)misaligned(&{store});", BAD),
        Choice("of size 0", sized("0"), BAD),
        Choice("of size 1", sized("1"), BAD),
        Choice("of the size of its size", sized("sizeof(size_t)"), BAD),
        Choice("of a later version", sized(f"sizeof({kind}) + SLACK"), GOOD),
        Choice("larger than memory", sized("SIZE_MAX"), GOOD),
    ]
    start = "sizeof(size_t)"
    untouched = f'if (!patterned({store}.bytes + {start}, sizeof {store} - {start})) blame("wrote {name} and failed");'
    beyond = f'if (!patterned({store}.bytes + sizeof({kind}), SLACK)) blame("wrote beyond {name}");'
    return Param(declarations, choices, untouched, beyond)


def struct_in(parsed, function, param, kind):
    """A struct that the call reads, with each of its fields made unusable in turn."""
    name, store = param.name, f"{param.name}_store"
    declarations = f"union {{ {kind} value; unsigned char bytes[sizeof({kind}) + SLACK]; }} {store};\n"
    declarations += f"    const {kind} *{name} = NULL;\n"
    declarations += f"    memset(&{store}, PATTERN, sizeof {store}); fill_{kind}(&{store}.value);"
    put = lambda field, value: f"{name} = &{store}.value; {store}.value.{field} = {value};"
    choices = [
        Choice("valid", f"{name} = &{store}.value;", GOOD),
        Choice("null", f"{name} = NULL;", OPTIONAL.get((function.name, name), BAD)),
        Choice("of size 0", put("struct_size", "0"), BAD),
        Choice("of size 1", put("struct_size", "1"), BAD),
        Choice("of the size of its size", put("struct_size", "sizeof(size_t)"), BAD),
        Choice("of a later version", put("struct_size", f"sizeof({kind}) + SLACK"), GOOD),
    ]
    for field in parsed.structs[kind]:
        said = FIELDS.get((kind, field.name), {})
        what = f"with {field.name}"
        if field.name == "struct_size":
            continue
        if field.type == "function" or field.type in parsed.callbacks:
            choices.append(Choice(f"{what} null", put(field.name, "NULL"), said.get("null", ANY)))
        elif field.type.endswith("*"):
            choices.append(Choice(f"{what} null", put(field.name, "NULL"), said.get("null", ANY)))
            if field.type == "const uint8_t*":
                continue  # a byte lies well anywhere
            twist = f"misaligned((void *)(uintptr_t){store}.value.{field.name})"
            choices.append(Choice(f"{what} misaligned", put(field.name, twist), said.get("misaligned", ANY)))
        elif field.type == "size_t":
            choices.append(Choice(f"{what} 0", put(field.name, "0"), said.get("0", ANY)))
            choices.append(Choice(f"{what} 1", put(field.name, "1"), said.get("1", ANY)))
            for huge in ("SIZE_MAX", "SIZE_MAX / 2"):
                choices.append(Choice(f"{what} {huge}", put(field.name, huge), said.get("huge", ANY)))
        elif field.type in ("int32_t", "uint32_t"):
            for number in NUMBERS:
                choices.append(Choice(f"{what} {number}", put(field.name, number), said.get("number", ANY)))
        elif field.type == "double":
            for number in ("NAN", "INFINITY", "-1e308"):
                choices.append(Choice(f"{what} {number}", put(field.name, number), said.get(number, ANY)))
        elif field.type == "wf_string":
            for label, value, effect in TEXTS:
                choices.append(Choice(f"{what} {label}", put(field.name, value), effect))
        else:
            sys.exit(f"abuse.py: {kind}.{field.name} has the type {field.type}, which this script does not know")
    return Param(declarations, choices, "", "")


def number(function, param, before):
    name, fallible = param.name, function.result == "int32_t" and before is not None
    if name == "capacity":
        values = [("BUFFER", GOOD), ("SIZE_MAX", GOOD), ("0", CONDITIONAL), ("1", CONDITIONAL)]
    elif name.endswith("_stride"):
        values = [("0", GOOD), ("1", ANY), ("SIZE_MAX", BAD), ("SIZE_MAX / 2", BAD)]
    else:
        valid = VALID.get((function.name, name), "0")
        beyond = BAD if fallible and (function.name, name) not in UNBOUNDED else ANY
        values = [(valid, GOOD), ("SIZE_MAX", beyond), ("SIZE_MAX / 2", beyond), ("100000", beyond), ("1", ANY)]
    choices = [Choice(value, f"{name} = {value};", effect) for value, effect in values]
    return Param(f"size_t {name} = 0;", choices, "", "")


def understood(parsed, function, place):
    param = function.params[place]
    kind, name = param.type, param.name
    after = function.params[place + 1] if place + 1 < len(function.params) else None
    before = function.params[place - 1] if place else None
    opaque = parsed.opaque + ["wf_error"]
    target = kind.replace("const ", "").rstrip("*")
    if kind == "wf_error**":
        choices = [
            Choice("valid", "error = &error_store;", GOOD),
            Choice("null", "error = NULL;", GOOD),
            Choice("misaligned", "error = (wf_error **)misaligned(&error_store);", GOOD),
        ]
        return Param("wf_error *error_store = NULL; wf_error **error = NULL;", choices, "", "")
    if function.name == f"{target}_free":
        return freed(parsed, param, target)
    if target in opaque and kind.endswith("**"):
        return made(param, target)
    if target in opaque and kind.endswith("*"):
        return handle(parsed, function, param, target)
    if target in parsed.structs and kind.startswith("const "):
        return struct_in(parsed, function, param, target)
    if target in parsed.structs and kind.endswith("*"):
        return struct_out(function, param, target)
    if kind.endswith("*") and target in ("size_t", "int32_t", "double", "wf_string") and "const" not in kind:
        is_buffer = after is not None and after.name == "capacity"
        return out(function, param, target, is_buffer)
    if kind == "const double*":
        if (function.name, name) not in ARRAYS:
            sys.exit(f"abuse.py: a valid array for '{name}' of {function.name} is needed in ARRAYS")
        choices = [
            Choice("valid", f"{name} = {ARRAYS[function.name, name]};", GOOD),
            Choice("null", f"{name} = NULL;", BAD),
            Choice("misaligned", f"{name} = (const double *)misaligned({ARRAYS[function.name, name]});", BAD),
        ]
        return Param(f"const double *{name} = NULL;", choices, "", "")
    if kind == "wf_string":
        if (function.name, name) not in VALID:
            sys.exit(f"abuse.py: a valid text for '{name}' of {function.name} is needed in VALID")
        choices = [Choice("valid", f"{name} = {VALID[function.name, name]};", GOOD)]
        choices += [Choice(label, f"{name} = {value};", effect) for label, value, effect in TEXTS]
        return Param(f"wf_string {name} = {{NULL, 0}};", choices, "", "")
    if kind == "int32_t":
        if (function.name, name) not in VALID:
            sys.exit(f"abuse.py: a valid number for '{name}' of {function.name} is needed in VALID")
        effect = BAD if len(function.params) > 1 else ANY
        choices = [Choice("valid", f"{name} = {VALID[function.name, name]};", GOOD)]
        choices += [Choice(value, f"{name} = {value};", effect) for value in NUMBERS]
        return Param(f"int32_t {name} = 0;", choices, "", "")
    if kind == "size_t":
        return number(function, param, before)
    if kind == "function" and name == "init":
        inits = [("tiny_init", GOOD), ("NULL", BAD), ("failing_init", BAD), ("silent_init", BAD)]
        inits += [("sizeless_init", BAD), ("undescribed_init", BAD)]
        choices = [Choice(value, f"{name} = {value};", effect) for value, effect in inits]
        return Param(f"wf_plugin_init {name} = NULL;", choices, "", "")
    sys.exit(f"abuse.py: '{name}' of {function.name} has the type {kind}, which this script does not know")


def write(parsed, function, lines):
    params = [understood(parsed, function, place) for place in range(len(function.params))]
    fallible = bool(function.params) and function.params[-1].type == "wf_error**"
    lines.append(f"static void call_{function.name}(const unsigned char *pick) {{")
    lines.append("    int bad = 0, conditional = 0, good = 1;")
    for param in params:
        lines.append(f"    {param.declarations}")
    for place, param in enumerate(params):
        lines.append(f"    switch (pick[{place}]) {{")
        for at, choice in enumerate(param.choices):
            mark = {GOOD: "", ANY: "good = 0;", BAD: "bad = 1; good = 0;", CONDITIONAL: "conditional = 1; good = 0;"}
            lines.append(f"    case {at}: {choice.code} {mark[choice.kind]} break; /* {choice.label} */")
        lines.append("    }")
    lines.append(f'    current = "{function.name}";')
    call = f"{function.name}({', '.join(param.name for param in function.params)})"
    if fallible:
        lines.append(f"    const int32_t code = {call};")
        lines.append("    verdict(code, bad, conditional, good, error == &error_store ? error : NULL, error_store);")
        lines.append("    if (code != WF_OK) {")
        lines += [f"        {param.failed}" for param in params if param.failed]
        lines.append("    } else {")
        lines += [f"        {param.passed}" for param in params if param.passed]
        if function.name == "wf_run_cancel":  # the wish stays until a step has seen it
            lines.append("        CHECK(wf_run_step((wf_run *)(uintptr_t)run, NULL, NULL) == WF_E_CANCELLED);")
        lines.append("    }")
    else:
        lines.append("    ++calls; (void)bad; (void)conditional; (void)good;")
        use = {"wf_string": f"touch({call});", "void": f"{call};"}
        lines.append("    " + use.get(function.result, f"(void){call};"))
    lines += ["    (void)pick;", "}", ""]
    return [len(param.choices) for param in params], [
        next((at for at, choice in enumerate(param.choices) if choice.label == "null"), 0) for param in params
    ]


def main():
    parsed = header.read(sys.argv[1])
    named = {(function.name, param.name) for function in parsed.functions for param in function.params}
    for key in list(OPTIONAL) + list(VALID) + list(ARRAYS) + list(UNBOUNDED):
        assert key in named, f"abuse.py: the header has no {key}"
    for kind, field in FIELDS:
        assert field in [other.name for other in parsed.structs[kind]], f"abuse.py: the header has no {kind}.{field}"
    lines = ["/* Written by abuse.py; changes here are lost. */", '#include "abuse.h"', ""]
    lines += ["static char long_text[1 << 16];", ""]
    table = []
    for function in parsed.functions:
        counts, nulls = write(parsed, function, lines)
        table.append((function.name, counts, nulls))
    most = max(len(counts) for _, counts, _ in table)
    lines.append("static const struct {")
    lines.append("    const char *name; void (*call)(const unsigned char *);")
    lines.append(f"    int params; unsigned char counts[{most}], nulls[{most}];")
    lines.append("} table[] = {")
    join = lambda numbers: "{" + ", ".join(map(str, numbers or [0])) + "}"
    for name, counts, nulls in table:
        lines.append(f'    {{"{name}", call_{name}, {len(counts)}, {join(counts)}, {join(nulls)}}},')
    lines += ["};", f"enum {{ FUNCTIONS = {len(table)}, MOST = {most} }};", ""]
    lines.append(MAIN)
    print("\n".join(lines))


MAIN = r"""
int main(int count, char **arguments) {
    const long wanted = count > 1 ? atol(arguments[1]) : 1000;
    unsigned char pick[MOST];
    int function, param, choice;
    long systematic, number;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    memset(long_text, 'x', sizeof long_text);
    set_up();

    /* Everything valid; then one argument at a time; then every pointer null at once. */
    for (function = 0; function < FUNCTIONS; ++function) {
        memset(pick, 0, sizeof pick);
        table[function].call(pick);
        for (param = 0; param < table[function].params; ++param) {
            for (choice = 1; choice < table[function].counts[param]; ++choice) {
                pick[param] = (unsigned char)choice;
                table[function].call(pick);
            }
            pick[param] = 0;
        }
        memcpy(pick, table[function].nulls, sizeof pick);
        strict = 0; /* what is conditional may be excused by another null */
        table[function].call(pick);
        strict = 1;
    }
    systematic = calls;
    strict = 0;
    for (number = 0; number < wanted; ++number) {
        function = (int)(next_random() % FUNCTIONS);
        memset(pick, 0, sizeof pick);
        for (param = 0; param < table[function].params; ++param) {
            /* Mostly valid, so that a call gets past its first check. */
            const uint64_t drawn = next_random();
            if (drawn % 8 >= 6) pick[param] = (unsigned char)(drawn / 8 % table[function].counts[param]);
        }
        table[function].call(pick);
    }
    tear_down();
    printf("%d functions, %ld systematic and %ld random calls, %ld refused, 0 crashes\n", FUNCTIONS, systematic,
           calls - systematic, refusals);
    return 0;
}
"""

main()
