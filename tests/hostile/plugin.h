/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A plugin of equal weights for faults to be planted in. A file that includes this one defines what it does wrong:
 * ON_INIT, ON_DESCRIBE, ON_WEIGHTS and ON_DESTROY are statements inside those functions; with NETWORK it is a network, and
 * there are ON_BUILD and ON_COMPUTE.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "walkforge_plugin.h"

#ifndef ON_INIT
#define ON_INIT
#endif
#ifndef ON_DESCRIBE
#define ON_DESCRIBE
#endif
#ifndef ON_WEIGHTS
#define ON_WEIGHTS
#endif
#ifndef ON_BUILD
#define ON_BUILD
#endif
#ifndef ON_COMPUTE
#define ON_COMPUTE
#endif
#ifndef ON_DESTROY
#define ON_DESTROY
#endif
#ifndef ENTRY
#define ENTRY wf_plugin_init
#endif

#ifdef __cplusplus
#define ABI extern "C"
#else
#define ABI
#endif

static const wf_host *host;

static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

static int32_t fail(wf_error **error, int32_t code, const char *message) {
    if (error != NULL) *error = host->error_new(code, text(message), NULL);
    return code;
}

#ifdef NETWORK
#define KIND "network"
#else
#define KIND "estimator"
#endif

static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"hostile\", \"version\": \"1\", \"kind\": \"" KIND "\", \"doc\": \"does harm\"}");
    ON_DESCRIBE
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **model, wf_error **error) {
    (void)context, (void)settings, (void)error;
    *model = malloc(16);
    return WF_OK;
}

static void destroy(void *model) {
    ON_DESTROY
    free(model);
}

static int32_t requirements(const void *model, wf_requirements *out, wf_error **error) {
    (void)model, (void)error;
    out->lookback = 20;
    out->min_history = 10;
    return WF_OK;
}

#ifdef NETWORK

/* A network: each asset's last return through a hidden layer. */
static int32_t build(const void *model, const wf_network_shape *shape, wf_program *program, wf_error **error) {
    const wf_program_service *net = (const wf_program_service *)host->get_service(text("program"), 1);
    const size_t axes[] = {WF_AXIS_ASSETS, 1};
    size_t hidden = 3;
    wf_value x = net->computed(program, text("today"), axes, 2, 1);
    (void)model, (void)error;
    ON_BUILD
    x = net->linear(program, text("hidden"), x, hidden);
    x = net->op(program, text("tanh"), &x, 1, text(""));
    x = net->linear(program, text("head"), x, 1);
    x = net->op(program, text("mean"), &x, 1, text("axis=1"));
    net->output_scores(program, x);
    (void)shape;
    return WF_OK;
}

static int32_t compute(const void *model, size_t input, const wf_past *past, float *out, size_t capacity, wf_error **error) {
    (void)model, (void)input;
#ifndef FAULT_NET_IGNORES_CAPACITY
    if (capacity < past->assets) return fail(error, WF_E_PLUGIN, "the buffer is too small");
#endif
    for (size_t asset = 0; asset < past->assets && asset < capacity; ++asset) {
        const double today = past->returns[(past->rows - 1) * past->assets + asset];
        out[asset] = today > -1e30 && today < 1e30 ? (float)today : NAN;
    }
    ON_COMPUTE
    (void)error;
    return WF_OK;
}

#else

static int32_t weights(const void *model, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    (void)model;
    if (capacity < past->assets) return fail(error, WF_E_PLUGIN, "the buffer is too small");
    for (size_t asset = 0; asset < past->assets; ++asset) out[asset] = 1.0 / (double)past->assets;
    ON_WEIGHTS
    return WF_OK;
}

#endif

ABI int32_t ENTRY(const wf_host *from, wf_plugin_api *out, wf_error **error);

ABI int32_t ENTRY(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    host = from;
    if (from->abi_major != WF_ABI_MAJOR) return fail(error, WF_E_PLUGIN_ABI, "built for another ABI");
    out->abi_major = WF_ABI_MAJOR;
    out->abi_minor = WF_ABI_MINOR;
    out->describe = describe;
    out->create = create;
    out->destroy = destroy;
    out->requirements = requirements;
#ifdef NETWORK
    if (out->struct_size > offsetof(wf_plugin_api, compute)) {
        out->build = build;
        out->compute = compute;
    }
#else
    out->weights = weights;
#endif
    ON_INIT
    return WF_OK;
}
