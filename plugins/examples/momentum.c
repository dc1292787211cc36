// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A walkforge plugin in C: 12-1 momentum. The assets that rose most over the last year, its last month left out, are held
// in equal parts (Jegadeesh and Titman 1993, long side only).
//
// All that a plugin needs is walkforge_plugin.h. Build it with
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

// The host's table stays valid as long as the process, so it may be kept. It is the only global.
static const wf_host *host;

// One model: its settings. There is one for each window, and many threads may ask one for weights at once, so nothing
// is written after `create`.
typedef struct model {
    size_t lookback, skip;
    double share;
} model;

// Text crosses as a pointer and a length, without a zero at the end.
static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

// How a call fails: store an error where one is wanted, and return its code.
static int32_t fail(wf_error **error, int32_t code, const char *message) {
    if (error != NULL) *error = host->error_new(code, text(message), NULL);
    return code;
}

// Who we are and what a user may set. The host checks settings against this before `create` sees them.
static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"momentum\", \"version\": \"1.0.0\", \"kind\": \"estimator\","
                " \"doc\": \"12-1 momentum: equal parts of the assets that rose most\", \"settings\": ["
                "{\"name\": \"lookback\", \"type\": \"integer\", \"minimum\": 2, \"maximum\": 100000, \"default\": 252,"
                " \"doc\": \"rows that are looked back over\"},"
                "{\"name\": \"skip\", \"type\": \"integer\", \"minimum\": 0, \"maximum\": 99999, \"default\": 21,"
                " \"doc\": \"last rows that are left out, because the last month tends to turn back\"},"
                "{\"name\": \"share\", \"type\": \"real\", \"minimum\": 0.0, \"maximum\": 1.0,"
                " \"default\": 0.3333333333333333, \"doc\": \"share of the assets that is held, at least one asset\"}]}");
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **out, wf_error **error) {
    (void)context;
    // Settings are read through a service. A host that has no such service is none of version 1, but ask all the same.
    const wf_settings_service *service = host->get_service(text("settings"), 1);
    if (service == NULL) return fail(error, WF_E_PLUGIN, "the host has no service 'settings'");
    int64_t lookback = 0, skip = 0;
    double share = 0.0;
    if (service->get_integer(settings, text("lookback"), &lookback) != WF_OK ||
        service->get_integer(settings, text("skip"), &skip) != WF_OK ||
        service->get_real(settings, text("share"), &share) != WF_OK) {
        return fail(error, WF_E_PLUGIN, "a setting with a default is missing");
    }
    // Each setting is inside its own range; what two of them mean together only we know.
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

// What we are shown at a decision: `lookback` rows of every asset that has returns in at least half of them.
static int32_t requirements(const void *self, wf_requirements *out, wf_error **error) {
    (void)error;
    const model *model = self;
    out->lookback = model->lookback;
    out->min_history = (model->lookback + 1) / 2;
    return WF_OK;
}

typedef struct rise {
    size_t asset;
    double growth;
} rise;

// Highest growth first. Equal ones stay in order of their names, so that the answer does not depend on the sort.
static int by_growth(const void *left, const void *right) {
    const rise *a = left, *b = right;
    if (a->growth != b->growth) return a->growth > b->growth ? -1 : 1;
    return a->asset < b->asset ? -1 : 1;
}

static int32_t weights(const void *self, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    const model *model = self;
    if (capacity < past->assets) return fail(error, WF_E_PLUGIN, "the buffer is too small");
    // Early in the data fewer rows are shown than were asked for.
    if (past->rows <= model->skip) return fail(error, WF_E_INVALID_DATA, "not more rows than setting 'skip' leaves out");
    rise *rises = calloc(past->assets, sizeof *rises);
    if (rises == NULL) return fail(error, WF_E_PLUGIN, "out of memory");
    for (size_t asset = 0; asset < past->assets; ++asset) {
        double growth = 1.0;
        for (size_t row = 0; row < past->rows - model->skip; ++row) {
            const double earned = past->returns[row * past->assets + asset]; // [rows, assets], the oldest row first
            if (!isnan(earned)) growth *= 1.0 + earned;                      // a missing day changes nothing
        }
        rises[asset].asset = asset;
        rises[asset].growth = growth;
    }
    qsort(rises, past->assets, sizeof *rises, by_growth);
    size_t held = (size_t)(model->share * (double)past->assets);
    if (held < 1) held = 1;
    // Every weight is written, those of assets that are not held too.
    for (size_t place = 0; place < past->assets; ++place) {
        out[rises[place].asset] = place < held ? 1.0 / (double)held : 0.0;
    }
    free(rises);
    return WF_OK;
}

// The one function that the library exports. `fit` stays null: momentum has nothing to train.
int32_t wf_plugin_init_momentum(const wf_host *from, wf_plugin_api *out, wf_error **error);

int32_t wf_plugin_init_momentum(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    host = from;
    // `error_new` is where it is in every version, so a host of another one can be told why we do not load.
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
