//! Each header compiles without warnings in all its languages, included once and twice.

use crate::common::compilers::{COMPILERS, compiler};
use crate::common::folder;
use crate::common::process::run;

#[test]
fn each_header_compiles_alone_and_twice_included_with_gcc_and_clang() {
    let folder = folder("capi/headers");
    let mut compiled = 0;
    let hpp: [&[&str]; 4] = [
        &["-std=c++17"],
        &["-std=c++20"],
        &["-std=c++17", "-fno-exceptions", "-fno-rtti"],
        &["-std=c++17", "-DWALKFORGE_EXCEPTIONS"],
    ];
    let plain: [&[&str]; 4] = [&["-std=c11"], &["-std=c17"], &["-std=c++17"], &["-std=c++20"]];
    for (header, languages) in [("walkforge.h", plain), ("walkforge_plugin.h", plain), ("walkforge.hpp", hpp)] {
        for (times, include) in
            [(1, format!("#include \"{header}\"\n")), (2, format!("#include \"{header}\"\n").repeat(2))]
        {
            for flags in languages {
                let is_c = flags[0] == "-std=c11" || flags[0] == "-std=c17";
                let source = folder.join(format!("{header}.{times}.{}", if is_c { "c" } else { "cpp" }));
                std::fs::write(&source, format!("{include}int main(void) {{ return 0; }}\n")).unwrap();
                for compilers in COMPILERS {
                    let name = if is_c { compilers.c } else { compilers.cpp };
                    run(compiler(name).args(flags).arg("-fsyntax-only").arg(&source));
                    compiled += 1;
                }
            }
        }
    }
    println!("{compiled} compilations of headers");
    assert_eq!(compiled, 3 * 2 * 4 * 2);
}
