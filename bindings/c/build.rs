//! Gives the shared library its soname. Versions 0.x may change what a program linked against: the name has the first
//! two numbers, as Cargo counts compatible versions; from 1.0 on it will have one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let part = |name: &str| std::env::var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
    let (major, minor) = (part("MAJOR"), part("MINOR"));
    let number = if major == "0" { format!("{major}.{minor}") } else { major };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libwalkforge.so.{number}");
}
