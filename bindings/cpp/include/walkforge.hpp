// SPDX-License-Identifier: MIT OR Apache-2.0
//
// walkforge for C++17: RAII owners for the handles of walkforge.h, spans, and results instead of error codes.
//
// Nothing in this header throws by default, and it compiles with -fno-exceptions. Every call that can fail returns a
// `wf::Result<T>`: test it, then use `*result` or `result.error()`. If WALKFORGE_EXCEPTIONS is defined before this
// header is included, `std::move(result).or_throw()` returns the value or throws `wf::Exception`.
//
//   auto runtime = wf::Runtime::make();
//   if (!runtime) return fail(runtime.error());
//   auto run = wf::Run::read(*runtime, "experiment.toml");
//   ...
//   for (auto progress = run->progress(); progress && !progress->finished;) progress = run->step();
//
// Owners are move-only. Const methods may be called from many threads at once. Other methods need exclusive access: a
// call during another one fails with WF_E_BUSY. Assets are in the order of the caller's data, rows count from 0, and
// dates are days since 1970-01-01 (`wf::days`, `wf::civil`).

#ifndef WALKFORGE_HPP
#define WALKFORGE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#ifdef WALKFORGE_EXCEPTIONS
#include <stdexcept>
#endif

#include "walkforge.h"

namespace wf {

// A view of contiguous values: a pointer and a count. It owns nothing.
template <class T> class Span {
  public:
    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    // From any container with data() and size(), such as std::vector, std::array and std::span.
    template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr Span(C &&values) noexcept : data_(values.data()), size_(values.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {
inline wf_string text(std::string_view view) noexcept { return {view.data(), view.size()}; }
inline std::string_view view(wf_string text) noexcept {
    return text.length == 0 ? std::string_view() : std::string_view(text.data, text.length);
}
struct Free {
    void operator()(wf_error *error) const noexcept { wf_error_free(error); }
    void operator()(wf_runtime *runtime) const noexcept { wf_runtime_free(runtime); }
    void operator()(wf_panel *panel) const noexcept { wf_panel_free(panel); }
    void operator()(wf_windows *windows) const noexcept { wf_windows_free(windows); }
    void operator()(wf_plugin *plugin) const noexcept { wf_plugin_free(plugin); }
    void operator()(wf_run *run) const noexcept { wf_run_free(run); }
};
template <class T> using Owner = std::unique_ptr<T, Free>;

template <class T> T *checked(T *pointer) noexcept {
    if (pointer == nullptr) {
        std::fputs("walkforge: a wf::Result was read as a value but is an error, or vice versa; test it first\n",
                   stderr);
        std::abort();
    }
    return pointer;
}

// Catches exceptions of a callback, which must not unwind through the library.
template <class Call> void contained(Call &&call) noexcept {
#ifdef __cpp_exceptions
    try {
        call();
    } catch (...) {
    }
#else
    call();
#endif
}
} // namespace detail

// An error: a code WF_E_*, and a message that says what to fix.
class Error {
  public:
    explicit Error(wf_error *error) noexcept : error_(error) {}

    // One of WF_E_*.
    std::int32_t code() const noexcept { return wf_error_code(error_.get()); }

    // The message followed by those of its causes, separated by ": ".
    std::string message() const {
        std::string out;
        for (const wf_error *error = error_.get(); error != nullptr; error = wf_error_cause(error)) {
            if (!out.empty()) out += ": ";
            out += detail::view(wf_error_message(error));
        }
        return out;
    }

  private:
    detail::Owner<wf_error> error_;
};

#ifdef WALKFORGE_EXCEPTIONS
// The exception that `or_throw` throws.
class Exception : public std::runtime_error {
  public:
    explicit Exception(const Error &error) : std::runtime_error(error.message()), code_(error.code()) {}
    // One of WF_E_*.
    std::int32_t code() const noexcept { return code_; }

  private:
    std::int32_t code_;
};
#endif

// A value or an error. Reading the one that it does not hold aborts the program.
template <class T> class [[nodiscard]] Result {
  public:
    Result(T value) : held_(std::move(value)) {}
    Result(Error error) : held_(std::move(error)) {}

    explicit operator bool() const noexcept { return held_.index() == 0; }
    T &operator*() { return *detail::checked(std::get_if<0>(&held_)); }
    const T &operator*() const { return *detail::checked(std::get_if<0>(&held_)); }
    T *operator->() { return detail::checked(std::get_if<0>(&held_)); }
    const T *operator->() const { return detail::checked(std::get_if<0>(&held_)); }
    const Error &error() const { return *detail::checked(std::get_if<1>(&held_)); }

#ifdef WALKFORGE_EXCEPTIONS
    T or_throw() && {
        if (!*this) throw Exception(error());
        return std::move(**this);
    }
#endif

  private:
    std::variant<T, Error> held_;
};

// Success or an error.
template <> class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    explicit operator bool() const noexcept { return !error_.has_value(); }
    const Error &error() const { return *detail::checked(error_.has_value() ? &*error_ : nullptr); }

#ifdef WALKFORGE_EXCEPTIONS
    void or_throw() && {
        if (!*this) throw Exception(error());
    }
#endif

  private:
    std::optional<Error> error_;
};

namespace detail {
// Calls a C function whose last parameter is the error, and returns its error or `value()`.
template <class Call, class Value> auto result(Call &&call, Value &&value) -> Result<decltype(value())> {
    wf_error *error = nullptr;
    if (call(&error) != WF_OK) return Error(error);
    if constexpr (std::is_void_v<decltype(value())>) {
        return Result<void>();
    } else {
        return value();
    }
}
inline void nothing() noexcept {}
template <class T> T sized() noexcept {
    T out{};
    out.struct_size = sizeof(T);
    return out;
}
} // namespace detail

// The days since 1970-01-01 of a date in the Gregorian calendar.
constexpr std::int32_t days(int year, int month, int day) noexcept {
    // Years start in March, so that a leap day is the last day of its year; 400 years have 146097 days.
    const int y = month <= 2 ? year - 1 : year;
    const int era = (y >= 0 ? y : y - 399) / 400;
    const int of_era = y - era * 400;
    const int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

// The year, month and day of a number of days since 1970-01-01.
constexpr std::array<int, 3> civil(std::int32_t days) noexcept {
    const int shifted = days + 719468;
    const int era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    const int of_era = shifted - era * 146097;
    const int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int of_year = of_era - (365 * year + year / 4 - year / 100);
    const int month = (5 * of_year + 2) / 153;
    return {year + era * 400 + (month >= 10 ? 1 : 0), month + (month < 10 ? 3 : -9),
            of_year - (153 * month + 2) / 5 + 1};
}

// What the values of a panel are.
enum class Kind : std::int32_t { prices = WF_PRICES, returns = WF_RETURNS };

// The options of a runtime.
struct RuntimeOptions {
    // The number of threads; 0 for one per core. With `parallel_for`: how many tasks it runs at once.
    std::size_t threads = 0;
    // Folders of plugins, separated by ':'; empty for the default folders.
    std::string_view plugin_path;
    // SHA-256 digests of the plugin files that may be loaded, 64 hexadecimal digits each, separated by ','; empty for
    // all.
    std::string_view plugin_sha256;
    // Receives messages (level WF_LOG_*, text), from any thread. Exceptions that it throws are ignored.
    std::function<void(std::int32_t, std::string_view)> log;
    // The program's own parallel loop: it calls the task once for each index below the count and returns when all calls
    // have returned. If it throws, the step that called it fails.
    std::function<void(std::size_t, const std::function<void(std::size_t)> &)> parallel_for;
};

// Threads, plugin folders and the log, shared by runs. With a log or a parallel loop it must outlive the runs that were
// made with it.
class Runtime {
  public:
    static Result<Runtime> make(RuntimeOptions options = {}) {
        auto kept = std::make_unique<RuntimeOptions>(std::move(options));
        auto given = detail::sized<wf_runtime_options>();
        given.threads = kept->threads;
        given.plugin_path = detail::text(kept->plugin_path);
        given.plugin_sha256 = detail::text(kept->plugin_sha256);
        if (kept->log) {
            given.log_data = kept.get();
            given.log = [](void *data, std::int32_t level, wf_string message) {
                detail::contained([&] { static_cast<RuntimeOptions *>(data)->log(level, detail::view(message)); });
            };
        }
        if (kept->parallel_for) {
            given.parallel_data = kept.get();
            given.parallel_for = [](void *data, std::size_t count, wf_task task, void *task_data) {
                detail::contained([&] {
                    static_cast<RuntimeOptions *>(data)->parallel_for(
                        count, [task, task_data](std::size_t index) { task(task_data, index); });
                });
            };
        }
        wf_runtime *out = nullptr;
        return detail::result([&](wf_error **error) { return wf_runtime_new(&given, &out, error); },
                              [&] { return Runtime(out, std::move(kept)); });
    }

    // Registers a plugin that is linked into the program, so that experiments can use it as `name`.
    Result<void> add(std::string_view name, wf_plugin_entry init) {
        return detail::result(
            [&](wf_error **error) { return wf_runtime_register(handle(), detail::text(name), init, error); },
            detail::nothing);
    }

    wf_runtime *handle() const noexcept { return handle_.get(); }

  private:
    Runtime(wf_runtime *handle, std::unique_ptr<RuntimeOptions> options) noexcept
        : options_(std::move(options)), handle_(handle) {}
    std::unique_ptr<RuntimeOptions> options_;
    detail::Owner<wf_runtime> handle_;
};

// A loaded plugin and its description.
class Plugin {
  public:
    static Result<Plugin> load(const Runtime &runtime, std::string_view name) {
        wf_plugin *out = nullptr;
        return detail::result(
            [&](wf_error **error) { return wf_plugin_load(runtime.handle(), detail::text(name), &out, error); },
            [&] { return Plugin(out); });
    }

    // Name, version, kind and settings as JSON; valid as long as this object.
    Result<std::string_view> describe() const {
        wf_string out{};
        return detail::result([&](wf_error **error) { return wf_plugin_describe(handle(), &out, error); },
                              [&] { return detail::view(out); });
    }

    wf_plugin *handle() const noexcept { return handle_.get(); }

  private:
    explicit Plugin(wf_plugin *handle) noexcept : handle_(handle) {}
    detail::Owner<wf_plugin> handle_;
};

// Dated returns of named assets.
class Panel {
  public:
    // From a CSV file: a date column, then one column per asset.
    static Result<Panel> read(std::string_view path, Kind kind = Kind::prices) {
        wf_panel *out = nullptr;
        return detail::result(
            [&](wf_error **error) {
                return wf_panel_read(detail::text(path), static_cast<std::int32_t>(kind), &out, error);
            },
            [&] { return Panel(out); });
    }

    // From arrays, which are copied: `values` is [dates, assets] in row-major order, NaN where missing.
    static Result<Panel> make(Kind kind, Span<const std::int32_t> dates, Span<const std::string> names,
                              Span<const double> values) {
        std::vector<wf_string> texts;
        for (const std::string &name : names) texts.push_back(detail::text(name));
        auto arrays = detail::sized<wf_panel_arrays>();
        arrays.kind = static_cast<std::int32_t>(kind);
        arrays.rows = dates.size();
        arrays.assets = names.size();
        arrays.dates = dates.data();
        arrays.names = texts.data();
        arrays.values = values.data();
        wf_panel *out = nullptr;
        return detail::result(
            [&](wf_error **error) {
                // A buffer of another size must not be read; a null pointer gives an error that names it.
                if (values.size() != dates.size() * names.size()) arrays.values = nullptr;
                return wf_panel_new(&arrays, &out, error);
            },
            [&] { return Panel(out); });
    }

    Result<std::size_t> rows() const { return shape(0); }
    Result<std::size_t> assets() const { return shape(1); }

    // The date of each row, in days since 1970-01-01.
    Result<std::vector<std::int32_t>> dates() const {
        auto count = rows();
        std::vector<std::int32_t> out(count ? *count : 0);
        return detail::result(
            [&](wf_error **error) { return wf_panel_dates(handle(), out.data(), out.size(), error); },
            [&] { return std::move(out); });
    }

    // The name of an asset; valid as long as this object.
    Result<std::string_view> asset(std::size_t asset) const {
        wf_string out{};
        return detail::result([&](wf_error **error) { return wf_panel_asset(handle(), asset, &out, error); },
                              [&] { return detail::view(out); });
    }

    // SHA-256 of the data; valid as long as this object.
    Result<std::string_view> fingerprint() const {
        wf_string out{};
        return detail::result([&](wf_error **error) { return wf_panel_fingerprint(handle(), &out, error); },
                              [&] { return detail::view(out); });
    }

    wf_panel *handle() const noexcept { return handle_.get(); }

  private:
    friend class Run;
    explicit Panel(wf_panel *handle) noexcept : handle_(handle) {}
    Result<std::size_t> shape(std::size_t which) const {
        std::array<std::size_t, 2> out{};
        return detail::result([&](wf_error **error) { return wf_panel_shape(handle(), &out[0], &out[1], error); },
                              [&] { return out[which]; });
    }
    detail::Owner<wf_panel> handle_;
};

// The walk-forward windows of a panel.
class Windows {
  public:
    // `experiment` is TOML, of which only [windows] is read; empty for 36/12/12 months and a step of 12.
    static Result<Windows> make(const Panel &panel, std::string_view experiment = {}) {
        wf_windows *out = nullptr;
        return detail::result(
            [&](wf_error **error) { return wf_windows_new(panel.handle(), detail::text(experiment), &out, error); },
            [&] { return Windows(out); });
    }

    Result<std::size_t> count() const {
        std::size_t out = 0;
        return detail::result([&](wf_error **error) { return wf_windows_count(handle(), &out, error); },
                              [&] { return out; });
    }

    Result<wf_window> get(std::size_t index) const {
        auto out = detail::sized<wf_window>();
        return detail::result([&](wf_error **error) { return wf_windows_get(handle(), index, &out, error); },
                              [&] { return out; });
    }

    wf_windows *handle() const noexcept { return handle_.get(); }

  private:
    friend class Run;
    explicit Windows(wf_windows *handle) noexcept : handle_(handle) {}
    detail::Owner<wf_windows> handle_;
};

// The out-of-sample path of a model, one element per row.
struct Path {
    std::vector<std::size_t> rows;
    std::vector<double> gross, cost, net, turnover;
};

// A run of an experiment: the caller advances it step by step and reads its results.
class Run {
  public:
    // From TOML and the caller's panel.
    static Result<Run> make(const Runtime &runtime, const Panel &panel, std::string_view toml) {
        return make(runtime, &panel, toml, WF_TOML, {});
    }

    // From TOML or JSON (`format` is WF_TOML or WF_JSON) that names its data files, relative to `folder`.
    static Result<Run> make(const Runtime &runtime, std::string_view experiment, std::int32_t format,
                            std::string_view folder = {}) {
        return make(runtime, nullptr, experiment, format, folder);
    }

    // From an experiment file (TOML).
    static Result<Run> read(const Runtime &runtime, std::string_view file) {
        wf_run *out = nullptr;
        return detail::result(
            [&](wf_error **error) { return wf_run_read(runtime.handle(), detail::text(file), &out, error); },
            [&] { return Run(out); });
    }

    // Advances the run: per thread, one window of an estimator or one epoch of a network.
    Result<wf_progress> step() {
        auto out = detail::sized<wf_progress>();
        return detail::result([&](wf_error **error) { return wf_run_step(handle(), &out, error); },
                              [&] { return out; });
    }

    Result<wf_progress> progress() const {
        auto out = detail::sized<wf_progress>();
        return detail::result([&](wf_error **error) { return wf_run_progress(handle(), &out, error); },
                              [&] { return out; });
    }

    // Makes the running step, or the next one, fail with WF_E_CANCELLED. May be called from any thread.
    Result<void> cancel() const {
        return detail::result([&](wf_error **error) { return wf_run_cancel(handle(), error); }, detail::nothing);
    }

    // Model 0 is equal weight; the others are in the order of the experiment.
    Result<std::size_t> model_count() const {
        std::size_t out = 0;
        return detail::result([&](wf_error **error) { return wf_run_model_count(handle(), &out, error); },
                              [&] { return out; });
    }

    // The name of a model; valid as long as this object.
    Result<std::string_view> model_name(std::size_t model) const {
        wf_string out{};
        return detail::result([&](wf_error **error) { return wf_run_model_name(handle(), model, &out, error); },
                              [&] { return detail::view(out); });
    }

    Result<Panel> panel() const {
        wf_panel *out = nullptr;
        return detail::result([&](wf_error **error) { return wf_run_panel(handle(), &out, error); },
                              [&] { return Panel(out); });
    }

    Result<Windows> windows() const {
        wf_windows *out = nullptr;
        return detail::result([&](wf_error **error) { return wf_run_windows(handle(), &out, error); },
                              [&] { return Windows(out); });
    }

    // Whether a rebalance is due at the close of `row`. If so, its target is written to `weights`, [assets].
    // Fails with WF_E_NOT_READY if the window that decides there is still to be computed.
    Result<bool> weights(std::size_t model, std::size_t row, Span<double> weights) const {
        std::int32_t due = 0;
        return detail::result(
            [&](wf_error **error) {
                return wf_run_weights(handle(), model, row, weights.data(), weights.size(), &due, error);
            },
            [&] { return due != 0; });
    }

    // The out-of-sample path of a model, as far as it is computed.
    Result<Path> path(std::size_t model) const {
        Path out;
        return detail::result(
            [&](wf_error **error) {
                std::size_t length = 0;
                if (const auto code = wf_run_path_length(handle(), &length, error); code != WF_OK) return code;
                out.rows.resize(length);
                for (auto *values : {&out.gross, &out.cost, &out.net, &out.turnover}) values->resize(length);
                auto buffers = detail::sized<wf_path>();
                buffers.capacity = length;
                buffers.rows = out.rows.data();
                buffers.gross = out.gross.data();
                buffers.cost = out.cost.data();
                buffers.net = out.net.data();
                buffers.turnover = out.turnover.data();
                return wf_run_path(handle(), model, &buffers, error);
            },
            [&] { return std::move(out); });
    }

    // A metric of the out-of-sample path, such as "sharpe"; NaN where it is undefined.
    Result<double> metric(std::size_t model, std::string_view name) const {
        double out = 0;
        return detail::result(
            [&](wf_error **error) {
                return wf_run_metric(handle(), model, detail::text(name), &out, nullptr, error);
            },
            [&] { return out; });
    }

    // Checks for look-ahead: changes later data at up to `dates` dates (0 for the default of the command line) and
    // compares earlier weights; `moved` says whether one moved.
    Result<wf_audit> audit(std::size_t dates = 0) const {
        auto out = detail::sized<wf_audit>();
        return detail::result([&](wf_error **error) { return wf_run_audit(handle(), dates, &out, error); },
                              [&] { return out; });
    }

    // Writes the run directory of a finished run.
    Result<void> save(std::string_view folder) const {
        return detail::result([&](wf_error **error) { return wf_run_save(handle(), detail::text(folder), error); },
                              detail::nothing);
    }

    wf_run *handle() const noexcept { return handle_.get(); }

  private:
    explicit Run(wf_run *handle) noexcept : handle_(handle) {}
    static Result<Run> make(const Runtime &runtime, const Panel *panel, std::string_view experiment,
                            std::int32_t format, std::string_view folder) {
        wf_run *out = nullptr;
        return detail::result(
            [&](wf_error **error) {
                return wf_run_new(runtime.handle(), detail::text(experiment), format, detail::text(folder),
                                  panel == nullptr ? nullptr : panel->handle(), &out, error);
            },
            [&] { return Run(out); });
    }
    detail::Owner<wf_run> handle_;
};

// The version of the library that is linked, such as "0.1.0".
inline std::string_view version() noexcept { return detail::view(wf_version()); }

} // namespace wf

#endif // WALKFORGE_HPP
