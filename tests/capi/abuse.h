/* What the generated abuse program stands on: valid values of everything, and the verdict on a call. */
#ifndef ABUSE_H
#define ABUSE_H

#include "tiny.h"

enum { BUFFER = 1024, SLACK = 64, PATTERN = 0xA5 };

/* Valid handles, made once. */
static struct {
    wf_runtime *runtime;
    wf_panel *panel;
    wf_windows *windows;
    wf_plugin *plugin;
    wf_run *run, *fresh;
    wf_error *error;
    size_t due_row;
} fixture;

/* Aligned memory that is no handle. */
static uint64_t nothing[64];
static int strict = 1;
static long calls = 0, refusals = 0, names = 0;
static const char *current = "";

static inline void *misaligned(void *pointer) { return (void *)((uintptr_t)pointer + 1); }
static inline wf_string slice_of(const char *data, size_t length) {
    wf_string out;
    out.data = data;
    out.length = length;
    return out;
}

static inline wf_string fresh_name(void) {
    static char name[32];
    snprintf(name, sizeof name, "plugin%ld", names++);
    return text(name);
}

static int32_t failing_init(const wf_host *host, wf_plugin_api *out, wf_error **error) {
    (void)out;
    if (error != NULL) *error = host->error_new(12345, text("refused"), NULL);
    return -7;
}
static int32_t silent_init(const wf_host *host, wf_plugin_api *out, wf_error **error) {
    (void)host, (void)out, (void)error;
    return WF_OK;
}
static int32_t sizeless_init(const wf_host *host, wf_plugin_api *out, wf_error **error) {
    const int32_t code = tiny_init(host, out, error);
    out->struct_size = 0;
    return code;
}
static int32_t describe_nothing(wf_string *out, wf_error **error) {
    (void)out, (void)error;
    return WF_OK;
}
static int32_t undescribed_init(const wf_host *host, wf_plugin_api *out, wf_error **error) {
    const int32_t code = tiny_init(host, out, error);
    out->describe = describe_nothing;
    return code;
}

/* Valid structs that a caller hands over. */
static inline void fill_wf_panel_arrays(wf_panel_arrays *out) {
    static uint8_t members[TINY_ROWS * TINY_ASSETS];
    memset(members, 1, sizeof members);
    *out = tiny_arrays();
    out->members = members;
}
static inline void fill_wf_runtime_options(wf_runtime_options *out) {
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->threads = 1;
}
static inline void fill_wf_path(wf_path *out) {
    static size_t rows[BUFFER];
    static double numbers[4][BUFFER];
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->capacity = BUFFER;
    out->rows = rows;
    out->gross = numbers[0];
    out->cost = numbers[1];
    out->net = numbers[2];
    out->turnover = numbers[3];
}

/* Handles to be freed by the call. */
static inline wf_runtime *make_wf_runtime(void) { return tiny_runtime(NULL); }
static inline wf_panel *make_wf_panel(void) { return tiny_panel(); }
static wf_panel *changing;
static inline wf_panel *renewed_panel(void) {
    wf_panel_free(changing);
    return changing = tiny_panel();
}
static inline wf_windows *make_wf_windows(void) {
    wf_windows *out = NULL;
    CHECK(wf_windows_new(fixture.panel, text(TINY_WINDOWS), &out, NULL) == WF_OK);
    return out;
}
static inline wf_plugin *make_wf_plugin(void) {
    wf_plugin *out = NULL;
    CHECK(wf_plugin_load(fixture.runtime, text("tiny"), &out, NULL) == WF_OK);
    return out;
}
static inline wf_run *make_wf_run(void) { return tiny_run(fixture.runtime, ""); }
static inline wf_error *make_wf_error(void) {
    wf_error *out = NULL;
    CHECK(wf_panel_read(text("nowhere"), WF_PRICES, NULL, &out) != WF_OK && out != NULL);
    return out;
}

/* Reads what a call gave, so that a sanitizer sees whether it is there. */
static inline size_t touch(wf_string given) {
    size_t sum = 0, at;
    for (at = 0; at < given.length; ++at) sum += (unsigned char)given.data[at];
    return sum;
}

static inline void blame(const char *what) {
    fprintf(stderr, "%s: %s\n", current, what);
    exit(1);
}

/* The verdict on a fallible call: the code fits what was passed and the error fits the code. */
static inline void verdict(int32_t code, int bad, int conditional, int good, wf_error **given, wf_error *error) {
    const wf_error *at;
    ++calls;
    refusals += code != WF_OK;
    if (code == WF_OK && (bad || (strict && conditional))) blame("accepted what is unusable");
    if (code != WF_OK && strict && good) {
        fprintf(stderr, "code %d: %.*s\n", (int)code, (int)wf_error_message(error).length, wf_error_message(error).data);
        blame("refused what is valid");
    }
    if (code == WF_E_INTERNAL || code == WF_E_POISONED) blame("failed inside");
    if (wf_code_name(code).length == 0) blame("returned a code that is none");
    if (code == WF_OK && error != NULL) blame("stored an error and succeeded");
    if (code != WF_OK && given != NULL && error == NULL) blame("failed without an error");
    if (error != NULL) {
        if (wf_error_code(error) != code) blame("the error has another code");
        for (at = error; at != NULL; at = wf_error_cause(at)) {
            if (touch(wf_error_message(at)) == 0) blame("an error says nothing");
        }
        wf_error_free(error);
    }
}

/* `count` bytes are still the pattern. */
static inline int patterned(const void *from, size_t count) {
    size_t at;
    for (at = 0; at < count; ++at) {
        if (((const unsigned char *)from)[at] != PATTERN) return 0;
    }
    return 1;
}

static void set_up(void) {
    wf_progress progress;
    size_t row;
    int32_t due = 0;
    double weights[TINY_ASSETS];
    FILE *file = fopen("tiny.csv", "w");
    CHECK(file != NULL);
    fprintf(file, "date,MID,ZED\n");
    for (row = 0; row < 182; ++row) {
        fprintf(file, "2020-%02d-%02d,", (int)(row / 28) + 1, (int)(row % 28) + 1);
        fprintf(file, "%f,%f\n", 1.0 + (double)(row % 7), 2.0 + (double)(row % 5));
    }
    fclose(file);
    file = fopen("tiny.toml", "w");
    CHECK(file != NULL);
    fprintf(file, "[data]\nprices = \"tiny.csv\"\n%s", TINY_EXPERIMENT);
    fclose(file);
    fixture.runtime = tiny_runtime(NULL);
    fixture.panel = tiny_panel();
    fixture.windows = make_wf_windows();
    fixture.plugin = make_wf_plugin();
    fixture.run = make_wf_run();
    fixture.fresh = make_wf_run();
    fixture.error = make_wf_error();
    progress.struct_size = sizeof progress;
    do {
        CHECK(wf_run_step(fixture.run, &progress, NULL) == WF_OK);
    } while (!progress.finished);
    for (row = 0; row < TINY_ROWS && !due; ++row) {
        CHECK(wf_run_weights(fixture.run, 1, row, weights, TINY_ASSETS, &due, NULL) == WF_OK);
        if (due) fixture.due_row = row;
    }
    CHECK(due);
}

static void tear_down(void) {
    wf_runtime_free(fixture.runtime);
    wf_panel_free(fixture.panel);
    wf_windows_free(fixture.windows);
    wf_plugin_free(fixture.plugin);
    wf_run_free(fixture.run);
    wf_run_free(fixture.fresh);
    wf_error_free(fixture.error);
    wf_panel_free(changing);
}

static uint64_t state;

/* SplitMix64: the same calls for the same seed on every machine. */
static uint64_t next_random(void) {
    uint64_t out = (state += 0x9E3779B97F4A7C15u);
    out = (out ^ (out >> 30)) * 0xBF58476D1CE4E5B9u;
    out = (out ^ (out >> 27)) * 0x94D049BB133111EBu;
    return out ^ (out >> 31);
}

#endif
