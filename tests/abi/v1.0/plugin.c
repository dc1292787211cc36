/* A plugin of ABI 1.0: weights that fall with the place of an asset. It hands over its whole table at once, which is only
 * as large as tables were then. */

#include <stdlib.h>
#include <string.h>

#include "walkforge_plugin.h"

static const wf_host *host;

static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

static int32_t describe(wf_string *out, wf_error **error) {
    (void)error;
    *out = text("{\"name\": \"old\", \"version\": \"1.0\", \"kind\": \"estimator\", \"doc\": \"of ABI 1.0\","
                " \"settings\": [{\"name\": \"power\", \"type\": \"real\", \"minimum\": 0, \"maximum\": 9,"
                " \"default\": 1.0, \"doc\": \"how fast weights fall\"}]}");
    return WF_OK;
}

static int32_t create(const wf_context *context, const wf_settings *settings, void **model, wf_error **error) {
    const wf_settings_service *service = host->get_service(text("settings"), 1);
    const wf_log_service *log = host->get_service(text("log"), 1);
    const wf_cancel_service *cancel = host->get_service(text("cancel"), 1);
    double *power = malloc(sizeof *power);
    if (service == NULL || log == NULL || cancel == NULL || power == NULL || cancel->requested(context) != 0 ||
        service->get_real(settings, text("power"), power) != WF_OK) {
        free(power);
        if (error != NULL) *error = host->error_new(WF_E_PLUGIN, text("the host lacks what ABI 1.0 had"), NULL);
        return WF_E_PLUGIN;
    }
    log->write(context, WF_LOG_INFO, text("made by ABI 1.0"));
    *model = power;
    return WF_OK;
}

static void destroy(void *model) { free(model); }

static int32_t requirements(const void *model, wf_requirements *out, wf_error **error) {
    (void)model, (void)error;
    out->lookback = 10;
    out->min_history = 5;
    return WF_OK;
}

static int32_t fit(void *model, const wf_past *train, const wf_past *validation, wf_error **error) {
    (void)error;
    return model != NULL && train->rows > 200 && train->struct_size >= sizeof *train && validation != NULL
               ? WF_OK
               : WF_E_PLUGIN;
}

static int32_t weights(const void *model, const wf_past *past, double *out, size_t capacity, wf_error **error) {
    double sum = 0.0;
    size_t asset;
    (void)error;
    if (capacity < past->assets || past->rows > 10) return WF_E_PLUGIN;
    for (asset = 0; asset < past->assets; ++asset) {
        out[asset] = 1.0 / (1.0 + *(const double *)model * (double)asset);
        sum += out[asset];
    }
    for (asset = 0; asset < past->assets; ++asset) out[asset] /= sum;
    return WF_OK;
}

__attribute__((visibility("default"))) int32_t wf_plugin_init_old(const wf_host *from, wf_plugin_api *out,
                                                                  wf_error **error);

int32_t wf_plugin_init_old(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    const wf_plugin_api table = {.struct_size = sizeof table,
                                 .abi_major = 1,
                                 .abi_minor = 0,
                                 .describe = describe,
                                 .create = create,
                                 .destroy = destroy,
                                 .requirements = requirements,
                                 .fit = fit,
                                 .weights = weights};
    (void)error;
    host = from;
    if (host->struct_size < sizeof *host || host->abi_major != 1) return WF_E_PLUGIN_ABI;
    memcpy(out, &table, sizeof table);
    return WF_OK;
}
