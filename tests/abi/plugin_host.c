/* A host of its own, without the library: it loads one plugin of today and asks for weights. What it hands over is as
 * short as structs were in the version of the header, and ends where the page behind it may not be touched. */

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "walkforge_plugin.h"

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                 \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

enum { ROWS = 80, ASSETS = 3 };

static int is(wf_string name, const char *text) {
    return name.length == strlen(text) && memcmp(name.data, text, name.length) == 0;
}

/* Settings: a look-back of 60 rows, and the names that have a default. */
static int32_t get_integer(const struct wf_settings *settings, wf_string name, int64_t *out) {
    (void)settings;
    if (!is(name, "lookback")) return WF_E_NOT_FOUND;
    *out = 60;
    return WF_OK;
}

static int32_t get_real(const struct wf_settings *settings, wf_string name, double *out) {
    (void)settings, (void)name, (void)out;
    return WF_E_NOT_FOUND;
}

static int32_t get_boolean(const struct wf_settings *settings, wf_string name, int32_t *out) {
    (void)settings, (void)name, (void)out;
    return WF_E_NOT_FOUND;
}

static int32_t get_text(const struct wf_settings *settings, wf_string name, wf_string *out) {
    static const char *const defaults[][2] = {
        {"variant", "lopez_de_prado"}, {"correlation", "pearson"}, {"covariance", "sample"}, {"risk", "variance"},
        {"missing", "complete"},       {"zero_variance", "error"},
    };
    (void)settings;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (is(name, defaults[i][0])) {
            out->data = defaults[i][1];
            out->length = strlen(defaults[i][1]);
            return WF_OK;
        }
    }
    return WF_E_NOT_FOUND;
}

/* Matrices, straight from their definitions. Complete rows only. */
static double mean(const double *returns, size_t rows, size_t assets, size_t asset) {
    double sum = 0.0;
    for (size_t row = 0; row < rows; row++) sum += returns[row * assets + asset];
    return sum / (double)rows;
}

static int32_t covariance(const double *returns, size_t rows, size_t assets, int32_t estimator, int32_t missing,
                          double *out, size_t capacity) {
    (void)estimator, (void)missing;
    CHECK(capacity >= assets * assets);
    for (size_t i = 0; i < assets; i++) {
        for (size_t j = 0; j < assets; j++) {
            const double mean_i = mean(returns, rows, assets, i), mean_j = mean(returns, rows, assets, j);
            double sum = 0.0;
            for (size_t row = 0; row < rows; row++) {
                sum += (returns[row * assets + i] - mean_i) * (returns[row * assets + j] - mean_j);
            }
            out[i * assets + j] = sum / (double)(rows - 1);
        }
    }
    return WF_OK;
}

static int32_t correlation(const double *returns, size_t rows, size_t assets, int32_t coefficient, int32_t missing,
                           double *out, size_t capacity) {
    double *matrix = malloc(assets * assets * sizeof *matrix);
    (void)coefficient;
    CHECK(matrix != NULL && capacity >= assets * assets);
    CHECK(covariance(returns, rows, assets, 0, missing, matrix, assets * assets) == WF_OK);
    for (size_t i = 0; i < assets; i++) {
        for (size_t j = 0; j < assets; j++) {
            out[i * assets + j] =
                i == j ? 1.0 : matrix[i * assets + j] / sqrt(matrix[i * assets + i] * matrix[j * assets + j]);
        }
    }
    free(matrix);
    return WF_OK;
}

static int32_t repair(double *matrix, size_t count, int32_t *changed) {
    (void)matrix, (void)count;
    if (changed != NULL) *changed = 0;
    return WF_OK;
}

static int32_t distances(const double *points, size_t count, size_t dimensions, double *out, size_t capacity) {
    CHECK(capacity >= count * count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < dimensions; k++) {
                const double difference = points[i * dimensions + k] - points[j * dimensions + k];
                sum += difference * difference;
            }
            out[i * count + j] = sqrt(sum);
        }
    }
    return WF_OK;
}

static const wf_settings_service settings_service = {
    sizeof settings_service, get_integer, get_real, get_boolean, get_text,
};

/* The service `statistics`, which hosts of 1.0 offered beside those of their header. */
static const struct {
    size_t struct_size;
    int32_t (*covariance)(const double *, size_t, size_t, int32_t, int32_t, double *, size_t);
    int32_t (*correlation)(const double *, size_t, size_t, int32_t, int32_t, double *, size_t);
    int32_t (*repair)(double *, size_t, int32_t *);
    int32_t (*distances)(const double *, size_t, size_t, double *, size_t);
} statistics_service = {sizeof statistics_service, covariance, correlation, repair, distances};

static const void *get_service(wf_string id, uint32_t minimum_version) {
    if (minimum_version > 1) return NULL;
    if (is(id, "settings")) return &settings_service;
    if (is(id, "statistics")) return &statistics_service;
    return NULL;
}

static struct wf_error *error_new(int32_t code, wf_string message, struct wf_error *cause) {
    (void)cause;
    fprintf(stderr, "the plugin says %d: %.*s\n", code, (int)message.length, message.data);
    return NULL;
}

static const wf_host host = {sizeof host, WF_ABI_MAJOR, WF_ABI_MINOR, error_new, get_service};

/* A copy of `size` bytes whose next byte lies on a page that may not be touched. */
static void *at_the_end_of_a_page(const void *from, size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && size <= page && mprotect(pages + page, page, PROT_NONE) == 0);
    return memcpy(pages + page - size, from, size);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    char symbol[64];
    snprintf(symbol, sizeof symbol, "wf_plugin_init_%s", arguments[2]);
    int32_t (*init)(const wf_host *, wf_plugin_api *, wf_error **);
    *(void **)&init = dlsym(library, symbol);
    CHECK(init != NULL);

    wf_plugin_api table = {.struct_size = sizeof table};
    wf_plugin_api *api = at_the_end_of_a_page(&table, sizeof table);
    CHECK(init(at_the_end_of_a_page(&host, sizeof host), api, NULL) == WF_OK && api->struct_size <= sizeof table);
    void *model = NULL;
    CHECK(api->create(NULL, NULL, &model, NULL) == WF_OK && model != NULL);
    wf_requirements needs = {.struct_size = sizeof needs};
    wf_requirements *asked = at_the_end_of_a_page(&needs, sizeof needs);
    CHECK(api->requirements(model, asked, NULL) == WF_OK && asked->lookback == 60);

    int32_t dates[ROWS];
    double returns[ROWS * ASSETS], weights[ASSETS], sum = 0.0;
    uint8_t members[ROWS * ASSETS];
    uint32_t state = 1;
    for (size_t row = 0; row < ROWS; row++) {
        dates[row] = (int32_t)row;
        for (size_t asset = 0; asset < ASSETS; asset++) {
            state = state * 1664525u + 1013904223u;
            returns[row * ASSETS + asset] = ((double)(state >> 8) / 16777216.0 - 0.5) * 0.01 * (double)(asset + 1);
            members[row * ASSETS + asset] = 1;
        }
    }
    const wf_string names[ASSETS] = {{"A", 1}, {"B", 1}, {"C", 1}};
    const wf_past past = {sizeof past, ROWS, ASSETS, dates, names, returns, members, NULL};
    CHECK(api->weights(model, at_the_end_of_a_page(&past, sizeof past), weights, ASSETS, NULL) == WF_OK);
    for (size_t asset = 0; asset < ASSETS; asset++) sum += weights[asset];
    CHECK(fabs(sum - 1.0) < 1e-12 && weights[0] > weights[1] && weights[1] > weights[2] && weights[2] > 0.0);
    api->destroy(model);
    printf("%s: %.4f %.4f %.4f from structs of %zu, %zu and %zu bytes\n", arguments[2], weights[0], weights[1],
           weights[2], sizeof past, sizeof table, sizeof needs);
    return 0;
}
