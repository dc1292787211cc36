#include <stdio.h>
#include <walkforge.h>

int main(void) {
    const wf_string version = wf_version();
    printf("walkforge %.*s from C, plugins in %s\n", (int)version.length, version.data, PLUGIN_DIR);
    return 0;
}
