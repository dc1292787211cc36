// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A walkforge network in C: a multilayer perceptron that scores each asset by its own past. All assets share one set of
// parameters, so assets may join and leave at any date. The inputs for an asset are its last returns, which of them are
// present, and two computed features, momentum and volatility.
//
// A network does no arithmetic on tensors. It describes its layers; the host differentiates, trains and runs them, and
// turns scores into weights. Build it with
//
//   cc -std=c11 -O2 -shared -fPIC -Wl,--version-script=plugins/examples/plugin.map -I include
//       plugins/examples/mlp.c -o libwalkforge_mlp.so -lm
//
// put it into a folder of WALKFORGE_PLUGIN_PATH, and name it in an experiment:
//
//   [[models]]
//   name = "mlp"
//   settings = { hidden_size = 64 }

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walkforge_plugin.h"

static const wf_host *host;

typedef struct model {
    size_t lookback, hidden;
    float dropout;
} model;

static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

static int32_t fail(wf_error **error, int32_t code, const char *message) {
    if (error != NULL) *error = host->error_new(code, text(message), NULL);
    return code;
}

// `kind` makes this plugin a network.
static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"mlp\", \"version\": \"1.0.0\", \"kind\": \"network\","
                " \"doc\": \"a multilayer perceptron that scores each asset by its own past\", \"settings\": ["
                "{\"name\": \"lookback\", \"type\": \"integer\", \"minimum\": 2, \"maximum\": 10000, \"default\": 60,"
                " \"doc\": \"rows of returns in the input\"},"
                "{\"name\": \"hidden_size\", \"type\": \"integer\", \"minimum\": 1, \"maximum\": 4096, \"default\": 32,"
                " \"doc\": \"units of the hidden layer\"},"
                "{\"name\": \"dropout\", \"type\": \"real\", \"minimum\": 0.0, \"maximum\": 0.95, \"default\": 0.3,"
                " \"doc\": \"dropout probability of the hidden layer in training\"}]}");
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **out, wf_error **error) {
    (void)context;
    const wf_settings_service *service = host->get_service(text("settings"), 1);
    int64_t lookback = 0, hidden = 0;
    double dropout = 0.0;
    if (service == NULL || service->get_integer(settings, text("lookback"), &lookback) != WF_OK ||
        service->get_integer(settings, text("hidden_size"), &hidden) != WF_OK ||
        service->get_real(settings, text("dropout"), &dropout) != WF_OK) {
        return fail(error, WF_E_PLUGIN, "a setting with a default is missing");
    }
    model *made = malloc(sizeof *made);
    if (made == NULL) return fail(error, WF_E_PLUGIN, "out of memory");
    *made = (model){(size_t)lookback, (size_t)hidden, (float)dropout};
    *out = made;
    return WF_OK;
}

static void destroy(void *self) { free(self); }

static int32_t requirements(const void *self, wf_requirements *out, wf_error **error) {
    (void)error;
    const model *model = self;
    out->lookback = model->lookback;
    out->min_history = (model->lookback + 1) / 2;
    out->universe = WF_ASSETS_BY_DATE;
    return WF_OK;
}

// Describes the network. A call that fails returns WF_NO_VALUE, and so does each call that receives one. The host keeps
// the first failure and reports it when `build` returns, so nothing needs to be checked here.
static int32_t build(const void *self, const wf_network_shape *shape, wf_program *program, wf_error **error) {
    const model *model = self;
    const wf_program_service *net = host->get_service(text("program"), 1);
    if (net == NULL) return fail(error, WF_E_PLUGIN, "the host is too old: it has no service 'program'");
    const size_t features[] = {WF_AXIS_ASSETS, 2};
    char assets[40];
    snprintf(assets, sizeof assets, "shape=[%zu]", shape->assets);
    // Two planes [lookback, assets] are stacked and transposed to one row per asset; the computed features follow.
    const wf_value planes[] = {net->trailing(program, text("returns"), model->lookback),
                               net->trailing(program, text("known"), model->lookback)};
    const wf_value both = net->op(program, text("concat"), planes, 2, text("axis=0"));
    const wf_value rows[] = {net->op(program, text("transpose"), &both, 1, text("order=[1, 0]")),
                             net->computed(program, text("features"), features, 2, 1)};
    wf_value x = net->op(program, text("concat"), rows, 2, text("axis=1"));
    x = net->linear(program, text("hidden"), x, model->hidden);
    x = net->op(program, text("relu"), &x, 1, text(""));
    x = net->dropout(program, x, model->dropout);
    x = net->linear(program, text("head"), x, 1);
    net->output_scores(program, net->op(program, text("reshape"), &x, 1, text(assets)));
    return WF_OK;
}

// Converts to single precision; a value out of range becomes NaN, which means missing.
static float single(double value) { return fabs(value) <= (double)FLT_MAX ? (float)value : NAN; }

// Computes the features at the last row of `past`, [assets, 2]: growth over the lookback without its last twelfth (12-1
// momentum for a lookback of one year), and the standard deviation of returns. The host standardises each feature.
static int32_t compute(const void *self, size_t input, const wf_past *past, float *out, size_t capacity,
                       wf_error **error) {
    (void)self, (void)input; // there is one input
    if (capacity / 2 < past->assets) return fail(error, WF_E_BUFFER_TOO_SMALL, "the buffer is too small");
    for (size_t asset = 0; asset < past->assets; ++asset) {
        double growth = 1.0, count = 0.0, sum = 0.0, squares = 0.0;
        for (size_t row = 0; row < past->rows; ++row) {
            const double value = past->returns[row * past->assets + asset];
            if (isnan(value)) continue;
            if (row < past->rows - past->rows / 12) growth *= 1.0 + value;
            count += 1.0, sum += value, squares += value * value;
        }
        const double variance = squares / count - (sum / count) * (sum / count);
        out[2 * asset] = single(growth - 1.0);
        out[2 * asset + 1] = single(sqrt(variance > 0.0 ? variance : 0.0));
    }
    return WF_OK;
}

int32_t wf_plugin_init_mlp(const wf_host *from, wf_plugin_api *out, wf_error **error);

int32_t wf_plugin_init_mlp(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    host = from;
    if (from->abi_major != WF_ABI_MAJOR) return fail(error, WF_E_PLUGIN_ABI, "mlp was built for another ABI");
    out->abi_major = WF_ABI_MAJOR;
    out->abi_minor = WF_ABI_MINOR;
    out->describe = describe;
    out->create = create;
    out->destroy = destroy;
    out->requirements = requirements;
    // Networks are part of the ABI since 1.1. The table of an older host ends before these two fields, and that host
    // reports that it does not know the kind.
    if (out->struct_size > offsetof(wf_plugin_api, compute)) {
        out->build = build;
        out->compute = compute;
    }
    return WF_OK;
}
