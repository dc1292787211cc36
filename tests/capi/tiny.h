/*
 * For the test programs, C and C++ alike: a plugin that is linked into the program, and data of a few months.
 *
 * The plugin weighs assets by their names' places, which no other model does; its settings make it slow or faulty.
 */
#ifndef TINY_H
#define TINY_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "walkforge.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        __atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);                                                              \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static long checks = 0;
static const wf_host *tiny_host;

static inline wf_string text(const char *from) {
    wf_string out;
    out.data = from;
    out.length = strlen(from);
    return out;
}

typedef struct tiny_model {
    int64_t sleep_ms;
    char fault[16];
} tiny_model;

static inline int32_t tiny_fail(wf_error **error, int32_t code, const char *message) {
    if (error != NULL) {
        *error = tiny_host->error_new(code, text(message), tiny_host->error_new(WF_E_IO, text("the cause"), NULL));
    }
    return code;
}

static int32_t tiny_describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"tiny\", \"version\": \"1\", \"kind\": \"estimator\", \"doc\": \"for tests\", \"settings\": ["
                "{\"name\": \"sleep_ms\", \"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000, \"default\": 0, "
                "\"doc\": \"how long a decision takes\"},"
                "{\"name\": \"fault\", \"type\": \"text\", \"default\": \"\", \"doc\": \"what goes wrong\"}]}");
    return WF_OK;
}

static int32_t tiny_create(const wf_context *context, const wf_settings *settings, void **model, wf_error **error) {
    const wf_settings_service *service = (const wf_settings_service *)tiny_host->get_service(text("settings"), 1);
    const wf_log_service *log = (const wf_log_service *)tiny_host->get_service(text("log"), 1);
    tiny_model *made = (tiny_model *)calloc(1, sizeof(tiny_model));
    wf_string fault = {NULL, 0};
    if (made == NULL || service == NULL || log == NULL) {
        free(made);
        return tiny_fail(error, WF_E_PLUGIN, "no memory or no service");
    }
    if (service->get_integer(settings, text("sleep_ms"), &made->sleep_ms) != WF_OK ||
        service->get_text(settings, text("fault"), &fault) != WF_OK || fault.length >= sizeof(made->fault)) {
        free(made);
        return tiny_fail(error, WF_E_INVALID_SETTING, "a setting is missing");
    }
    memcpy(made->fault, fault.data, fault.length);
    log->write(context, WF_LOG_DEBUG, text("created"));
    if (strcmp(made->fault, "create") == 0) {
        free(made);
        return tiny_fail(error, WF_E_PLUGIN, "fault in create");
    }
    *model = made;
    return WF_OK;
}

static void tiny_destroy(void *model) { free(model); }

static int32_t tiny_requirements(const void *model, wf_requirements *out, wf_error **error) {
    (void)error;
    out->lookback = strcmp(((const tiny_model *)model)->fault, "lookback") == 0 ? 0 : 5;
    out->min_history = 1;
    return WF_OK;
}

static int32_t tiny_fit(void *model, const wf_past *train, const wf_past *validation, wf_error **error) {
    if (strcmp(((tiny_model *)model)->fault, "fit") == 0) return tiny_fail(error, WF_E_INVALID_DATA, "fault in fit");
    if (train->rows < 1 || (validation != NULL && validation->assets < 1)) {
        return tiny_fail(error, WF_E_PLUGIN, "an empty past");
    }
    return WF_OK;
}

static int32_t tiny_weights(const void *model, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    const tiny_model *tiny = (const tiny_model *)model;
    const double total = (double)past->assets * (double)(past->assets + 1) / 2.0;
    struct timespec nap;
    size_t asset;
    if (capacity < past->assets) return tiny_fail(error, WF_E_BUFFER_TOO_SMALL, "no room");
    nap.tv_sec = tiny->sleep_ms / 1000;
    nap.tv_nsec = tiny->sleep_ms % 1000 * 1000000;
    if (tiny->sleep_ms > 0) nanosleep(&nap, NULL);
    for (asset = 0; asset < past->assets; ++asset) out[asset] = (double)(asset + 1) / total;
    if (strcmp(tiny->fault, "nan") == 0) out[0] = NAN;
    if (strcmp(tiny->fault, "sum") == 0) out[0] += 1.0;
    if (strcmp(tiny->fault, "error") == 0) return tiny_fail(error, WF_E_INVALID_DATA, "fault in weights");
    if (strcmp(tiny->fault, "silent") == 0) return WF_E_PLUGIN;
    return WF_OK;
}

static int32_t tiny_init(const wf_host *host, wf_plugin_api *out, wf_error **error) {
    (void)error;
    tiny_host = host;
    out->abi_major = WF_ABI_MAJOR;
    out->abi_minor = WF_ABI_MINOR;
    out->describe = tiny_describe;
    out->create = tiny_create;
    out->destroy = tiny_destroy;
    out->requirements = tiny_requirements;
    out->fit = tiny_fit;
    out->weights = tiny_weights;
    return WF_OK;
}

/* Prices of three assets over 250 days, out of order of their names. */
enum { TINY_ROWS = 250, TINY_ASSETS = 3 };
static int32_t tiny_dates[TINY_ROWS];
static double tiny_prices[TINY_ROWS * TINY_ASSETS];
static wf_string tiny_names[TINY_ASSETS];

static inline wf_panel_arrays tiny_arrays(void) {
    static const char *const names[TINY_ASSETS] = {"MID", "ZED", "ABE"};
    wf_panel_arrays out;
    int row, asset;
    for (row = 0; row < TINY_ROWS; ++row) {
        tiny_dates[row] = 18262 + row; /* from 2020-01-01 */
        for (asset = 0; asset < TINY_ASSETS; ++asset) {
            tiny_prices[row * TINY_ASSETS + asset] = 100.0 + 10.0 * sin(0.1 * row * (asset + 1)) + 0.01 * row;
        }
    }
    for (asset = 0; asset < TINY_ASSETS; ++asset) tiny_names[asset] = text(names[asset]);
    memset(&out, 0, sizeof out);
    out.struct_size = sizeof out;
    out.kind = WF_PRICES;
    out.rows = TINY_ROWS;
    out.assets = TINY_ASSETS;
    out.dates = tiny_dates;
    out.names = tiny_names;
    out.values = tiny_prices;
    return out;
}

#define TINY_WINDOWS "[windows]\ntrain_months = 2\nvalidation_months = 1\ntest_months = 1\nstep_months = 1\n"
#define TINY_EXPERIMENT TINY_WINDOWS "[portfolio]\ncost_bps = 5\n[[models]]\nname = \"tiny\"\nplugin = \"tiny\"\n"

/* A runtime that knows the plugin, and a panel. */
static inline wf_runtime *tiny_runtime(const wf_runtime_options *options) {
    wf_runtime *out = NULL;
    CHECK(wf_runtime_new(options, &out, NULL) == WF_OK && out != NULL);
    CHECK(wf_runtime_register(out, text("tiny"), tiny_init, NULL) == WF_OK);
    return out;
}

static inline wf_panel *tiny_panel(void) {
    const wf_panel_arrays arrays = tiny_arrays();
    wf_panel *out = NULL;
    CHECK(wf_panel_new(&arrays, &out, NULL) == WF_OK && out != NULL);
    return out;
}

static inline int32_t tiny_run_new(const wf_runtime *runtime, const char *more, wf_run **out, wf_error **error) {
    wf_panel *panel = tiny_panel();
    char experiment[1024];
    int32_t code;
    snprintf(experiment, sizeof experiment, "%s%s", TINY_EXPERIMENT, more);
    code = wf_run_new(runtime, text(experiment), WF_TOML, text(""), panel, out, error);
    wf_panel_free(panel);
    return code;
}

static inline wf_run *tiny_run(const wf_runtime *runtime, const char *more) {
    wf_run *out = NULL;
    CHECK(tiny_run_new(runtime, more, &out, NULL) == WF_OK && out != NULL);
    return out;
}

#endif
