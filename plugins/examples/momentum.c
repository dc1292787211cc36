// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A walkforge plugin in C: 12-1 momentum. It holds, with equal weights, the assets that rose most over the last year
// without its last month (Jegadeesh and Titman 1993, long side only).
//
// A plugin needs walkforge_plugin.h and nothing else. Build it with
//
//   cc -std=c11 -O2 -shared -fPIC -Wl,--version-script=plugins/examples/plugin.map -I include
//       plugins/examples/momentum.c -o libwalkforge_momentum.so
//
// put it into a folder of WALKFORGE_PLUGIN_PATH, and name it in an experiment:
//
//   [[models]]
//   name = "momentum"
//   settings = { share = 0.25 }

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "walkforge_plugin.h"

// The host's table is valid until the process ends, so the plugin may keep it. It is the only global variable.
static const wf_host *host;

// The settings of a model. The host creates one model per window, and many threads may call `weights` on one model at
// once, so nothing is written after `create`.
typedef struct model {
    size_t lookback, skip;
    double share;
} model;

// A string of the ABI is a pointer and a length, not null-terminated.
static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

// Fails a call: stores an error if the host passed a pointer for one, and returns its code.
static int32_t fail(wf_error **error, int32_t code, const char *message) {
    if (error != NULL) *error = host->error_new(code, text(message), NULL);
    return code;
}

// Describes the plugin and its settings. The host validates a user's settings against this before it calls `create`.
static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"momentum\", \"version\": \"1.0.0\", \"kind\": \"estimator\","
                " \"doc\": \"12-1 momentum: equal weights of the assets that rose most\", \"settings\": ["
                "{\"name\": \"lookback\", \"type\": \"integer\", \"minimum\": 2, \"maximum\": 100000, \"default\": 252,"
                " \"doc\": \"rows over which growth is measured\"},"
                "{\"name\": \"skip\", \"type\": \"integer\", \"minimum\": 0, \"maximum\": 99999, \"default\": 21,"
                " \"doc\": \"last rows that are ignored, as the last month tends to reverse\"},"
                "{\"name\": \"share\", \"type\": \"real\", \"minimum\": 0.0, \"maximum\": 1.0,"
                " \"default\": 0.3333333333333333, \"doc\": \"share of the assets to hold, at least one asset\"}]}");
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **out, wf_error **error) {
    (void)context;
    // Settings are read through a service. Every host of version 1 has it, but a plugin checks nevertheless.
    const wf_settings_service *service = host->get_service(text("settings"), 1);
    if (service == NULL) return fail(error, WF_E_PLUGIN, "the host has no service 'settings'");
    int64_t lookback = 0, skip = 0;
    double share = 0.0;
    if (service->get_integer(settings, text("lookback"), &lookback) != WF_OK ||
        service->get_integer(settings, text("skip"), &skip) != WF_OK ||
        service->get_real(settings, text("share"), &share) != WF_OK) {
        return fail(error, WF_E_PLUGIN, "a setting with a default is missing");
    }
    // The host has checked the range of each setting; only the plugin can check them in combination.
    if (skip >= lookback) return fail(error, WF_E_INVALID_SETTING, "setting 'skip' must be less than 'lookback'");
    model *made = malloc(sizeof *made);
    if (made == NULL) return fail(error, WF_E_PLUGIN, "out of memory");
    made->lookback = (size_t)lookback;
    made->skip = (size_t)skip;
    made->share = share;
    *out = made;
    return WF_OK;
}

static void destroy(void *self) { free(self); }

// At a decision the model needs `lookback` rows of each asset that has returns in at least half of them.
static int32_t requirements(const void *self, wf_requirements *out, wf_error **error) {
    (void)error;
    const model *model = self;
    out->lookback = model->lookback;
    out->min_history = (model->lookback + 1) / 2;
    return WF_OK;
}

typedef struct ranked {
    size_t asset;
    double growth;
} ranked;

// Orders by decreasing growth, on a tie by name, so that the result does not depend on the sorting algorithm.
static int by_growth(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    if (a->growth != b->growth) return a->growth > b->growth ? -1 : 1;
    return a->asset < b->asset ? -1 : 1;
}

static int32_t weights(const void *self, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    const model *model = self;
    if (capacity < past->assets) return fail(error, WF_E_PLUGIN, "the buffer is too small");
    // Early in the data there are fewer rows than the lookback.
    if (past->rows <= model->skip) return fail(error, WF_E_INVALID_DATA, "no row is left before the last 'skip' rows");
    ranked *ranking = calloc(past->assets, sizeof *ranking);
    if (ranking == NULL) return fail(error, WF_E_PLUGIN, "out of memory");
    for (size_t asset = 0; asset < past->assets; ++asset) {
        double growth = 1.0;
        for (size_t row = 0; row < past->rows - model->skip; ++row) {
            const double value = past->returns[row * past->assets + asset]; // [rows, assets], oldest row first
            if (!isnan(value)) growth *= 1.0 + value;                       // a missing return counts as 0
        }
        ranking[asset].asset = asset;
        ranking[asset].growth = growth;
    }
    qsort(ranking, past->assets, sizeof *ranking, by_growth);
    size_t held = (size_t)(model->share * (double)past->assets);
    if (held < 1) held = 1;
    // Every weight must be written, also those of assets that are not held.
    for (size_t rank = 0; rank < past->assets; ++rank) {
        out[ranking[rank].asset] = rank < held ? 1.0 / (double)held : 0.0;
    }
    free(ranking);
    return WF_OK;
}

// The only function that the library exports. `fit` stays null: momentum has nothing to fit.
int32_t wf_plugin_init_momentum(const wf_host *from, wf_plugin_api *out, wf_error **error);

int32_t wf_plugin_init_momentum(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    host = from;
    // `error_new` has the same offset in every version of the ABI, so this reports an error to a host of any version.
    if (from->abi_major != WF_ABI_MAJOR) return fail(error, WF_E_PLUGIN_ABI, "momentum was built for another ABI");
    out->abi_major = WF_ABI_MAJOR;
    out->abi_minor = WF_ABI_MINOR;
    out->describe = describe;
    out->create = create;
    out->destroy = destroy;
    out->requirements = requirements;
    out->weights = weights;
    return WF_OK;
}
