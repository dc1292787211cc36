# find_package(walkforge 0.1 REQUIRED) gives the targets walkforge::walkforge (shared) and walkforge::static, and
# walkforge_PLUGIN_DIR, where the plugins are. A program that links the shared library finds them by itself.

get_filename_component(_walkforge_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(walkforge_PLUGIN_DIR "${_walkforge_prefix}/lib/walkforge/plugins")

if(NOT TARGET walkforge::walkforge)
    add_library(walkforge::walkforge SHARED IMPORTED)
    set_target_properties(walkforge::walkforge PROPERTIES
        IMPORTED_LOCATION "${_walkforge_prefix}/lib/libwalkforge.so.@VERSION@"
        IMPORTED_SONAME "@SONAME@"
        INTERFACE_INCLUDE_DIRECTORIES "${_walkforge_prefix}/include")
    add_library(walkforge::static STATIC IMPORTED)
    set_target_properties(walkforge::static PROPERTIES
        IMPORTED_LOCATION "${_walkforge_prefix}/lib/libwalkforge.a"
        INTERFACE_INCLUDE_DIRECTORIES "${_walkforge_prefix}/include"
        INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl")
endif()

unset(_walkforge_prefix)
