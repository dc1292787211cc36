//! The C ABI as C and C++ programs see it. Most tests compile sources with gcc and clang and run them with the C
//! libraries that cargo built for these tests.

mod abuse;
mod headers;
mod package;
mod plugins;
mod previous;
mod sanitizers;
mod symbols;
mod threads;
