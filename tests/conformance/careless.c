/* A plugin that loads and breaks rules: it remembers how often it was asked, and takes any buffer for large enough. */
#include "walkforge_plugin.h"

static int asked;
static int instance;

static int32_t describe(struct wf_string *out, struct wf_error **error) {
    static const char text[] =
        "{\"name\": \"careless\", \"version\": \"1\", \"kind\": \"estimator\", \"doc\": \"breaks rules\", \"settings\": []}";
    (void)error;
    out->data = text;
    out->length = sizeof text - 1;
    return WF_OK;
}

static int32_t create(const struct wf_context *context, const struct wf_settings *settings, void **out,
                      struct wf_error **error) {
    (void)settings, (void)context, (void)error;
    *out = &instance;
    return WF_OK;
}

static void destroy(void *model) {
    (void)model;
}

static int32_t requirements(const void *model, struct wf_requirements *out, struct wf_error **error) {
    (void)model, (void)error;
    out->lookback = 5;
    out->min_history = 1;
    return WF_OK;
}

static int32_t weights(const void *model, const struct wf_past *past, double *out, size_t capacity,
                       struct wf_error **error) {
    size_t chosen = (size_t)(asked++) % past->assets;
    (void)model, (void)capacity, (void)error;
    for (size_t asset = 0; asset < past->assets; asset++)
        out[asset] = asset == chosen;
    return WF_OK;
}

int32_t wf_plugin_init_careless(const struct wf_host *host, struct wf_plugin_api *out, struct wf_error **error) {
    (void)host, (void)error;
    out->abi_major = WF_ABI_MAJOR;
    out->abi_minor = WF_ABI_MINOR;
    out->describe = describe;
    out->create = create;
    out->destroy = destroy;
    out->requirements = requirements;
    out->weights = weights;
    return WF_OK;
}
