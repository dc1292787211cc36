/* A host program of ABI 1.1, which knows feature planes and trains networks: every struct that it hands over has the size it
 * had then.
 *
 * usage: host PRICES.csv PLUGIN_FOLDER MODEL... */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walkforge.h"

static wf_string text(const char *from) {
    wf_string out = {from, strlen(from)};
    return out;
}

static void must(int32_t code, wf_error *error) {
    const wf_error *at;
    if (code == WF_OK) return;
    for (at = error; at != NULL; at = wf_error_cause(at)) {
        const wf_string message = wf_error_message(at);
        fprintf(stderr, "%.*s: ", (int)message.length, message.data);
    }
    fprintf(stderr, "code %d\n", (int)code);
    exit(1);
}

int main(int count, char **arguments) {
    wf_error *error = NULL;
    wf_runtime *runtime = NULL;
    wf_panel *whole = NULL, *panel = NULL;
    wf_windows *windows = NULL;
    wf_run *run = NULL;
    wf_runtime_options options = {.struct_size = sizeof options, .threads = 2};
    wf_progress progress = {.struct_size = sizeof progress};
    wf_window window = {.struct_size = sizeof window};
    wf_panel_arrays arrays = {.struct_size = sizeof arrays, .kind = WF_PRICES};
    wf_path path = {.struct_size = sizeof path};
    char experiment[4096] = "";
    size_t rows, assets, models, model, row, asset, decisions = 0, in_windows = 0;
    double *values, *weights, *net, growth;
    int32_t *dates;
    wf_string *names;
    int argument;

    if (count < 4) return 2;
    options.plugin_path = text(arguments[2]);
    snprintf(experiment, sizeof experiment, "[train]\nmax_epochs = 2\n");
    for (argument = 3; argument < count; ++argument) {
        snprintf(experiment + strlen(experiment), sizeof experiment - strlen(experiment), "[[models]]\nname = \"%s\"\n",
                 arguments[argument]);
    }
    must(wf_runtime_new(&options, &runtime, &error), error);

    /* The file's dates and names with prices of our own, so that all of wf_panel_arrays is used. */
    must(wf_panel_read(text(arguments[1]), WF_PRICES, &whole, &error), error);
    must(wf_panel_shape(whole, &rows, &assets, &error), error);
    dates = malloc(rows * sizeof *dates);
    names = malloc(assets * sizeof *names);
    values = malloc(rows * assets * sizeof *values);
    weights = malloc(assets * sizeof *weights);
    must(wf_panel_dates(whole, dates, rows, &error), error);
    for (asset = 0; asset < assets; ++asset) {
        double price = 100.0;
        uint32_t state = 12345u + (uint32_t)asset;
        must(wf_panel_asset(whole, asset, &names[asset], &error), error);
        for (row = 0; row < rows; ++row) {
            state = state * 1664525u + 1013904223u;
            price *= 1.0 + 0.02 * ((double)(state >> 8) / 16777216.0 - 0.499);
            values[asset * rows + row] = price;
        }
    }
    arrays.rows = rows;
    arrays.assets = assets;
    arrays.dates = dates;
    arrays.names = names;
    arrays.values = values;
    arrays.row_stride = 1;
    arrays.asset_stride = rows;
    must(wf_panel_new(&arrays, &panel, &error), error);
    must(wf_panel_add_feature(panel, text("level"), values, 1, rows, &error), error);
    wf_panel_free(whole);

    must(wf_run_new(runtime, text(experiment), WF_TOML, text(""), panel, &run, &error), error);
    must(wf_run_windows(run, &windows, &error), error);
    must(wf_windows_get(windows, 0, &window, &error), error);
    in_windows = window.test_end - window.train_start;
    do {
        must(wf_run_step(run, &progress, &error), error);
    } while (!progress.finished);
    must(wf_run_model_count(run, &models, &error), error);
    for (model = 0; model < models; ++model) {
        for (row = 0; row < rows; ++row) {
            int32_t due = 0;
            double sum = 0.0;
            must(wf_run_weights(run, model, row, weights, assets, &due, &error), error);
            if (!due) continue;
            for (asset = 0; asset < assets; ++asset) sum += weights[asset];
            if (fabs(sum - 1.0) > 1e-9) return 1;
            ++decisions;
        }
        must(wf_run_path_length(run, &path.capacity, &error), error);
        net = malloc(path.capacity * sizeof *net);
        path.net = net;
        must(wf_run_path(run, model, &path, &error), error);
        growth = 1.0;
        for (row = 0; row < path.capacity; ++row) growth *= 1.0 + net[row];
        free(net);
        if (!(growth > 0.0)) return 1;
    }
    if (decisions == 0) return 1;
    wf_run_free(run);
    wf_windows_free(windows);
    wf_panel_free(panel);
    wf_runtime_free(runtime);
    free(dates);
    free(names);
    free(values);
    free(weights);
    printf("%zu models, %zu windows, the first of %zu rows, %zu decisions, each sums to 1\n", models, progress.windows,
           in_windows, decisions);
    return 0;
}
