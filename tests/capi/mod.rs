//! The gates of the C ABI: what C and C++ programs see of the library, and what it stands up to. Each gate compiles the
//! sources beside it with gcc and clang and runs them against the library that cargo built for these tests.

mod abuse;
mod headers;
mod package;
mod plugins;
mod previous;
mod sanitizers;
mod symbols;
mod threads;
