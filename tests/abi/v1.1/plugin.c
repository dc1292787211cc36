/* A plugin of ABI 1.1: a network that uses every function of the service `program` as it was then. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walkforge_plugin.h"

#define LOOKBACK 5

static const wf_host *host;

static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

static int32_t fail(wf_error **error, const char *message) {
    if (error != NULL) *error = host->error_new(WF_E_PLUGIN, text(message), NULL);
    return WF_E_PLUGIN;
}

static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"old\", \"version\": \"1.1\", \"kind\": \"network\", \"doc\": \"of ABI 1.1\","
                " \"settings\": [{\"name\": \"hidden\", \"type\": \"integer\", \"minimum\": 2, \"maximum\": 64,"
                " \"default\": 4, \"doc\": \"states\"}]}");
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **model, wf_error **error) {
    const wf_settings_service *service = host->get_service(text("settings"), 1);
    int64_t *hidden = malloc(sizeof *hidden);
    (void)context;
    if (service == NULL || hidden == NULL || service->get_integer(settings, text("hidden"), hidden) != WF_OK) {
        free(hidden);
        return fail(error, "the host lacks what ABI 1.1 had");
    }
    *model = hidden;
    return WF_OK;
}

static void destroy(void *model) { free(model); }

static int32_t requirements(const void *model, wf_requirements *out, wf_error **error) {
    (void)model, (void)error;
    if (out->struct_size < sizeof *out) return WF_E_PLUGIN;
    out->lookback = LOOKBACK;
    out->min_history = 3;
    out->universe = WF_UNIVERSE_BY_DATE;
    return WF_OK;
}

static int32_t build(const void *model, const wf_network_shape *shape, wf_program *program, wf_error **error) {
    const wf_program_service *net = host->get_service(text("program"), 1);
    const size_t hidden = (size_t) * (const int64_t *)model, own[] = {WF_AXIS_ASSETS, 1};
    size_t axes[4] = {0};
    char steps[64], assets[64];
    wf_value x, pair[2];
    if (net == NULL || net->struct_size < sizeof *net || shape->struct_size < sizeof *shape) {
        return fail(error, "the host lacks what ABI 1.1 had");
    }
    if (shape->feature_count != 1 || memcmp(shape->features[0].data, "level", 5) != 0) return fail(error, "no level");
    snprintf(steps, sizeof steps, "shape=[%zu, %d, 2]", shape->assets, LOOKBACK);
    snprintf(assets, sizeof assets, "shape=[%zu]", shape->assets);
    /* [LOOKBACK, 2 assets], then for each asset LOOKBACK steps of two numbers. */
    pair[0] = net->trailing(program, text("returns"), LOOKBACK);
    pair[1] = net->trailing(program, shape->features[0], LOOKBACK);
    x = net->op(program, text("concat"), pair, 2, text("axis=1"));
    x = net->op(program, text("transpose"), &x, 1, text("order=[1, 0]"));
    x = net->op(program, text("reshape"), &x, 1, text(steps));
    x = net->lstm(program, text("lstm"), x, hidden);
    x = net->attention(program, text("attention"), x, 2);
    x = net->layer_norm(program, text("norm"), x);
    x = net->op(program, text("mean"), &x, 1, text("axis=1"));
    if (net->shape(program, x, axes, 4) != 2 || axes[0] != shape->assets || axes[1] != hidden) return fail(error, "shape");
    pair[0] = x;
    pair[1] = net->computed(program, text("today"), own, 2, 1);
    x = net->op(program, text("concat"), pair, 2, text("axis=1"));
    x = net->dropout(program, x, 0.1f);
    x = net->linear(program, text("head"), x, 1);
    pair[0] = net->op(program, text("reshape"), &x, 1, text(assets));
    pair[1] = net->parameter(program, text("sharpness"), NULL, 0, 0.0f, 1.0f);
    pair[0] = net->op(program, text("multiply"), pair, 2, text(""));
    pair[1] = net->mask(program);
    x = net->op(program, text("softmax"), pair, 2, text(""));
    if (x == WF_NO_VALUE) return fail(error, "no value");
    net->output_weights(program, x);
    return WF_OK;
}

static int32_t compute(const void *model, size_t input, const wf_past *past, float *out, size_t capacity, wf_error **error) {
    size_t asset;
    (void)model;
    if (input != 0 || capacity != past->assets || past->feature_count != 1) return fail(error, "not as ABI 1.1 had it");
    for (asset = 0; asset < past->assets; ++asset) {
        const double today = past->returns[(past->rows - 1) * past->assets + asset];
        out[asset] = isnan(today) ? NAN : (float)today;
    }
    return WF_OK;
}

__attribute__((visibility("default"))) int32_t wf_plugin_init_old(const wf_host *from, wf_plugin_api *out,
                                                                  wf_error **error);

int32_t wf_plugin_init_old(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    const wf_plugin_api table = {.struct_size = sizeof table,
                                 .abi_major = 1,
                                 .abi_minor = 1,
                                 .describe = describe,
                                 .create = create,
                                 .destroy = destroy,
                                 .requirements = requirements,
                                 .build = build,
                                 .compute = compute};
    (void)error;
    host = from;
    if (host->struct_size < sizeof *host || host->abi_major != 1) return WF_E_PLUGIN_ABI;
    memcpy(out, &table, sizeof table);
    return WF_OK;
}
