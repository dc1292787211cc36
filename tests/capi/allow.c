/* Loads hrp with a list of digests from the host, or from the environment where that is empty.
 * usage: allow PLUGIN_FOLDER LIST */
#include "tiny.h"

static int failed(wf_error *error) {
    const wf_error *last = error;
    while (wf_error_cause(last) != NULL) last = wf_error_cause(last);
    const wf_string first = wf_error_message(error), message = wf_error_message(last);
    printf("%.*s: %.*s\n", (int)first.length, first.data, (int)message.length, message.data);
    wf_error_free(error);
    return 1;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    wf_runtime_options options = {.struct_size = sizeof options};
    options.plugin_path = text(arguments[1]);
    options.plugin_sha256 = text(arguments[2]);
    wf_runtime *runtime = NULL;
    wf_error *error = NULL;
    if (wf_runtime_new(&options, &runtime, &error) != WF_OK) return failed(error);
    wf_panel *panel = tiny_panel();
    wf_run *run = NULL;
    const wf_string experiment = text(TINY_WINDOWS "[[models]]\nname = \"hrp\"\nsettings = { lookback = 20, min_history = 10 }\n");
    const int32_t code = wf_run_new(runtime, experiment, WF_TOML, text(""), panel, &run, &error);
    if (code == WF_OK) {
        printf("loaded\n");
    } else {
        failed(error);
    }
    wf_run_free(run);
    wf_panel_free(panel);
    wf_runtime_free(runtime);
    return code;
}
