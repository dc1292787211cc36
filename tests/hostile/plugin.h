/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A plugin of equal weights for faults to be planted in. A file that includes this one defines what it does wrong:
 * ON_INIT, ON_DESCRIBE, ON_WEIGHTS and ON_DESTROY are statements inside those functions.
 */

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

static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"hostile\", \"version\": \"1\", \"kind\": \"estimator\", \"doc\": \"does harm\"}");
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

static int32_t weights(const void *model, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    (void)model;
    if (capacity < past->assets) return fail(error, WF_E_PLUGIN, "the buffer is too small");
    for (size_t asset = 0; asset < past->assets; ++asset) out[asset] = 1.0 / (double)past->assets;
    ON_WEIGHTS
    return WF_OK;
}

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
    out->weights = weights;
    ON_INIT
    return WF_OK;
}
