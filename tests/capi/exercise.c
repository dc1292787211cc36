/* Uses every handle of the library once the way a host does, with the errors that belong to it, and frees everything. */

#include "tiny.h"

static int logged = 0;

static void on_log(void *data, int32_t level, wf_string message) {
    CHECK(data == &logged && level >= WF_LOG_ERROR && level <= WF_LOG_DEBUG && message.length > 0);
    __atomic_fetch_add(&logged, 1, __ATOMIC_RELAXED);
}

/* The whole chain of an error as one text; frees it. */
static void take(wf_error *error, int32_t code, const char *part) {
    char all[4096] = "";
    const wf_error *at;
    CHECK(error != NULL && wf_error_code(error) == code && wf_code_name(code).length > 0);
    for (at = error; at != NULL; at = wf_error_cause(at)) {
        const wf_string message = wf_error_message(at);
        strncat(all, message.data, message.length < 1000 ? message.length : 1000);
        strcat(all, ": ");
    }
    if (strstr(all, part) == NULL) fprintf(stderr, "%s lacks %s\n", all, part);
    CHECK(strstr(all, part) != NULL);
    wf_error_free(error);
}

static void panels(wf_runtime *runtime) {
    wf_panel *panel = tiny_panel(), *other = NULL, *none = NULL;
    wf_panel_arrays arrays = tiny_arrays();
    wf_error *error = NULL;
    wf_windows *windows = NULL;
    wf_string name, print, again;
    int32_t dates[TINY_ROWS];
    double turned[TINY_ROWS * TINY_ASSETS];
    size_t rows = 0, assets = 0, count = 0, index;
    FILE *file = fopen("tiny.csv", "w");

    CHECK(wf_panel_shape(panel, &rows, &assets, &error) == WF_OK && rows == TINY_ROWS && assets == TINY_ASSETS);
    CHECK(wf_panel_dates(panel, dates, TINY_ROWS, &error) == WF_OK && dates[9] == tiny_dates[9]);
    CHECK(wf_panel_dates(panel, dates, 3, &error) == WF_E_BUFFER_TOO_SMALL);
    take(error, WF_E_BUFFER_TOO_SMALL, "250 are needed");
    CHECK(wf_panel_asset(panel, 1, &name, NULL) == WF_OK && name.length == 3 && memcmp(name.data, "ZED", 3) == 0);
    CHECK(wf_panel_asset(panel, 3, &name, &error) == WF_E_INVALID_ARGUMENT);
    take(error, WF_E_INVALID_ARGUMENT, "asset 3");
    CHECK(wf_panel_fingerprint(panel, &print, NULL) == WF_OK && print.length == 64);

    /* A change leaves the names where they were. */
    other = tiny_panel();
    CHECK(wf_panel_asset(other, 1, &name, NULL) == WF_OK);
    CHECK(wf_panel_add_feature(other, text("volume"), tiny_prices, 0, 0, NULL) == WF_OK);
    CHECK(name.length == 3 && memcmp(name.data, "ZED", 3) == 0);
    CHECK(wf_panel_add_feature(other, text("volume"), tiny_prices, 0, 0, &error) == WF_E_INVALID_DATA);
    take(error, WF_E_INVALID_DATA, "already");
    CHECK(wf_panel_fingerprint(other, &again, NULL) == WF_OK && memcmp(print.data, again.data, 64) != 0);
    wf_panel_free(other);

    /* The same values column by column are the same panel. */
    for (index = 0; index < TINY_ROWS * TINY_ASSETS; ++index) {
        turned[index % TINY_ASSETS * TINY_ROWS + index / TINY_ASSETS] = tiny_prices[index];
    }
    arrays.values = turned;
    arrays.row_stride = 1;
    arrays.asset_stride = TINY_ROWS;
    CHECK(wf_panel_new(&arrays, &other, NULL) == WF_OK);
    CHECK(wf_panel_fingerprint(other, &again, NULL) == WF_OK && memcmp(print.data, again.data, 64) == 0);
    wf_panel_free(other);

    arrays = tiny_arrays();
    tiny_dates[5] = tiny_dates[4];
    CHECK(wf_panel_new(&arrays, &none, &error) == WF_E_INVALID_DATA && none == NULL);
    take(error, WF_E_INVALID_DATA, "");
    tiny_dates[5] = INT32_MAX;
    CHECK(wf_panel_new(&arrays, &none, &error) == WF_E_INVALID_DATA && none == NULL);
    take(error, WF_E_INVALID_DATA, "beyond the calendar");

    fprintf(file, "date,A,B\n2020-01-02,1,2\n2020-01-03,1.5,\n");
    fclose(file);
    CHECK(wf_panel_read(text("tiny.csv"), WF_PRICES, &other, &error) == WF_OK);
    CHECK(wf_panel_shape(other, &rows, &assets, NULL) == WF_OK && rows == 2 && assets == 2);
    wf_panel_free(other);
    CHECK(wf_panel_read(text("nowhere.csv"), WF_PRICES, &none, &error) == WF_E_NOT_FOUND && none == NULL);
    take(error, WF_E_NOT_FOUND, "nowhere.csv");
    CHECK(wf_panel_read(text("tiny.csv"), 7, &none, &error) == WF_E_INVALID_ARGUMENT && none == NULL);
    take(error, WF_E_INVALID_ARGUMENT, "'kind' is 7");

    CHECK(wf_windows_new(panel, text(TINY_WINDOWS), &windows, NULL) == WF_OK);
    CHECK(wf_windows_count(windows, &count, NULL) == WF_OK && count > 2);
    for (index = 0; index < count; ++index) {
        wf_window window;
        window.struct_size = sizeof window;
        CHECK(wf_windows_get(windows, index, &window, NULL) == WF_OK && window.index == index);
        CHECK(window.train_start < window.train_end && window.train_end <= window.validation_start);
        CHECK(window.validation_end <= window.test_start && window.test_start < window.test_end);
    }
    wf_windows_free(windows);
    CHECK(wf_windows_new(panel, text("[windows]\ntrain_moths = 1"), &windows, &error) == WF_E_INVALID_SETTING);
    take(error, WF_E_INVALID_SETTING, "train_months");
    CHECK(wf_windows_count((const wf_windows *)(const void *)panel, &count, &error) == WF_E_INVALID_ARGUMENT);
    take(error, WF_E_INVALID_ARGUMENT, "not a wf_windows");
    CHECK(wf_windows_count((const wf_windows *)(const void *)runtime, &count, NULL) == WF_E_INVALID_ARGUMENT);
    wf_panel_free(panel);
}

static void plugins(wf_runtime *runtime) {
    wf_plugin *plugin = NULL, *none = NULL;
    wf_error *error = NULL;
    wf_string description;
    CHECK(wf_plugin_load(runtime, text("tiny"), &plugin, NULL) == WF_OK);
    CHECK(wf_plugin_describe(plugin, &description, NULL) == WF_OK && description.data[0] == '{');
    wf_plugin_free(plugin);
    CHECK(wf_plugin_load(runtime, text("missing"), &none, &error) == WF_E_NOT_FOUND && none == NULL);
    take(error, WF_E_NOT_FOUND, "libwalkforge_missing.so");
    CHECK(wf_plugin_load(runtime, text("tiny.csv.so"), &none, &error) == WF_E_NOT_FOUND);
    wf_error_free(error);
    CHECK(wf_runtime_register(runtime, text("tiny"), tiny_init, &error) == WF_E_INVALID_ARGUMENT);
    take(error, WF_E_INVALID_ARGUMENT, "already");
}

static void runs(const wf_runtime *runtime) {
    wf_run *run = tiny_run(runtime, ""), *again = NULL;
    wf_progress progress;
    wf_error *error = NULL;
    wf_panel *panel = NULL;
    wf_windows *windows = NULL;
    wf_string name, reason;
    wf_path path;
    double weights[TINY_ASSETS], value = 0.0, sum = 0.0, *net;
    size_t models = 0, length = 0, row, metric, decisions = 0;
    int32_t due = 0;

    memset(&progress, 0, sizeof progress);
    CHECK(wf_run_step(run, &progress, &error) == WF_E_INVALID_ARGUMENT && progress.windows == 0);
    take(error, WF_E_INVALID_ARGUMENT, "struct_size of 0");
    progress.struct_size = sizeof progress;
    CHECK(wf_run_progress(run, &progress, NULL) == WF_OK && progress.done == 0 && progress.finished == 0);
    CHECK(wf_run_weights(run, 1, TINY_ROWS - 1, weights, 3, &due, &error) == WF_E_NOT_READY);
    take(error, WF_E_NOT_READY, "still to be computed");
    CHECK(wf_run_save(run, text("out"), &error) == WF_E_NOT_READY);
    take(error, WF_E_NOT_READY, "");
    CHECK(wf_run_cancel(run, NULL) == WF_OK);
    progress.windows = 777;
    CHECK(wf_run_step(run, &progress, &error) == WF_E_CANCELLED && progress.windows == 777);
    take(error, WF_E_CANCELLED, "cancelled");
    while (!progress.finished) CHECK(wf_run_step(run, &progress, &error) == WF_OK);
    CHECK(progress.done == progress.windows && logged > 0);
    /* No network is in this run. */
    CHECK(progress.training == 0 && progress.max_epochs == 0 && isnan(progress.loss) && isnan(progress.seconds_left));
    /* A caller of the first version, whose struct ended with `finished`, is told no more than it has room for. */
    progress.training = 777;
    progress.done = 777;
    progress.struct_size = offsetof(wf_progress, training);
    CHECK(wf_run_progress(run, &progress, NULL) == WF_OK && progress.done == progress.windows);
    CHECK(progress.training == 777);
    progress.struct_size = sizeof progress;

    CHECK(wf_run_model_count(run, &models, NULL) == WF_OK && models == 2);
    CHECK(wf_run_model_name(run, 1, &name, NULL) == WF_OK && name.length == 4 && memcmp(name.data, "tiny", 4) == 0);
    CHECK(wf_run_panel(run, &panel, NULL) == WF_OK && wf_run_windows(run, &windows, NULL) == WF_OK);
    for (row = 0; row < TINY_ROWS; ++row) {
        CHECK(wf_run_weights(run, 1, row, weights, TINY_ASSETS, &due, NULL) == WF_OK);
        if (!due) continue;
        /* ABE, MID and ZED get 1, 2 and 3 sixths; the caller's order is MID, ZED, ABE. */
        CHECK(fabs(weights[0] - 2.0 / 6) < 1e-12 && fabs(weights[1] - 3.0 / 6) < 1e-12);
        CHECK(wf_run_weights(run, 1, row, weights, 2, &due, &error) == WF_E_BUFFER_TOO_SMALL);
        take(error, WF_E_BUFFER_TOO_SMALL, "3 are needed");
        ++decisions;
    }
    CHECK(decisions > 2);
    CHECK(wf_run_path_length(run, &length, NULL) == WF_OK && length > 60);
    net = (double *)malloc(length * sizeof *net);
    memset(&path, 0, sizeof path);
    path.struct_size = sizeof path;
    path.capacity = length - 1;
    path.net = net;
    CHECK(wf_run_path(run, 1, &path, &error) == WF_E_BUFFER_TOO_SMALL);
    take(error, WF_E_BUFFER_TOO_SMALL, "are needed");
    path.capacity = length;
    CHECK(wf_run_path(run, 1, &path, NULL) == WF_OK);
    for (row = 0; row < length; ++row) sum += net[row];
    CHECK(isfinite(sum));
    free(net);
    for (metric = 0; metric < wf_metric_count(); ++metric) {
        CHECK(wf_run_metric(run, 1, wf_metric_name(metric), &value, &reason, NULL) == WF_OK);
        CHECK(isnan(value) ? reason.length > 0 : reason.length == 0);
        CHECK(wf_metric_doc(metric).length > 0);
    }
    CHECK(wf_run_metric(run, 1, text("shape"), &value, NULL, &error) == WF_E_INVALID_ARGUMENT);
    take(error, WF_E_INVALID_ARGUMENT, "sharpe");
    CHECK(wf_run_save(run, text("saved"), NULL) == WF_OK);
    CHECK(wf_run_save(run, text("saved"), NULL) == WF_OK);
    CHECK(wf_run_save(run, text("."), &error) == WF_E_EXISTS);
    take(error, WF_E_EXISTS, "");
    wf_run_free(run);
    wf_windows_free(windows);

    CHECK(wf_run_new(runtime, text("{\"modls\": []}"), WF_JSON, text(""), panel, &again, &error) == WF_E_INVALID_SETTING);
    take(error, WF_E_INVALID_SETTING, "models");
    CHECK(wf_run_new(runtime, text("["), WF_TOML, text(""), panel, &again, &error) == WF_E_INVALID_SETTING);
    take(error, WF_E_INVALID_SETTING, "");
    CHECK(wf_run_read(runtime, text("nowhere.toml"), &again, &error) == WF_E_NOT_FOUND && again == NULL);
    take(error, WF_E_NOT_FOUND, "nowhere.toml");
    wf_panel_free(panel);
}

/* Whatever a plugin does wrong, preparing the run or a step of it fails with its name in the message, and the run goes
   on being usable. */
static void faults(const wf_runtime *runtime) {
    static const struct {
        const char *fault, *said;
        int32_t code;
        int is_early;
    } table[] = {
        {"create", "fault in create", WF_E_PLUGIN, 1},
        {"lookback", "lookback of 0", WF_E_PLUGIN, 1},
        {"fit", "fault in fit: the cause", WF_E_INVALID_DATA, 0},
        {"nan", "must be written and finite", WF_E_PLUGIN, 0},
        {"sum", "sum to 2", WF_E_PLUGIN, 0},
        {"error", "fault in weights", WF_E_INVALID_DATA, 0},
        {"silent", "no message", WF_E_PLUGIN, 0},
    };
    size_t at;
    for (at = 0; at < sizeof table / sizeof *table; ++at) {
        char settings[64];
        wf_progress progress;
        wf_error *error = NULL;
        wf_run *run = NULL;
        snprintf(settings, sizeof settings, "settings = { fault = \"%s\" }\n", table[at].fault);
        if (table[at].is_early) {
            CHECK(tiny_run_new(runtime, settings, &run, &error) == table[at].code && run == NULL);
            take(error, table[at].code, table[at].said);
            continue;
        }
        run = tiny_run(runtime, settings);
        progress.struct_size = sizeof progress;
        CHECK(wf_run_step(run, NULL, &error) == table[at].code);
        take(error, table[at].code, table[at].said);
        CHECK(wf_run_progress(run, &progress, NULL) == WF_OK && progress.done == 0);
        wf_run_free(run);
    }
}

int main(void) {
    wf_runtime_options options;
    wf_runtime *runtime, *none = NULL;
    wf_error *error = NULL;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 2;
    options.log = on_log;
    options.log_data = &logged;
    CHECK(wf_abi_version() >> 16 == WF_ABI_MAJOR && wf_version().length > 0);
    runtime = tiny_runtime(&options);
    options.threads = 100000;
    CHECK(wf_runtime_new(&options, &none, &error) == WF_E_INVALID_ARGUMENT && none == NULL);
    take(error, WF_E_INVALID_ARGUMENT, "at most 1024");
    panels(runtime);
    plugins(runtime);
    runs(runtime);
    faults(runtime);
    wf_runtime_free(runtime);
    wf_error_free(NULL);
    wf_runtime_free(NULL);
    wf_panel_free(NULL);
    wf_windows_free(NULL);
    wf_plugin_free(NULL);
    wf_run_free(NULL);
    printf("%ld checks hold\n", checks);
    return 0;
}
