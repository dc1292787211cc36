// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A plugin in C++ that lets an exception out, into frames of another language that cannot unwind.

#include <stdexcept>

#define ON_WEIGHTS throw std::runtime_error("nobody catches this");

#include "plugin.h"
