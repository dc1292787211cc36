// What threads and forks may do with handles, through the C++ header where it has the call and through C where not.
// usage: threads PRICES.csv PLUGIN_FOLDER

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tiny.h"
#include "walkforge.hpp"

namespace {

const auto moment = std::chrono::milliseconds(1);

// The out-of-sample path and all weights of a finished run, as bytes.
std::vector<double> everything(const wf::Run &run) {
    std::vector<double> out;
    const auto panel = run.panel();
    const auto rows = *panel->rows(), assets = *panel->assets();
    std::vector<double> weights(assets);
    for (std::size_t model = 0; model < *run.model_count(); ++model) {
        const auto path = run.path(model);
        CHECK(path && !path->net.empty());
        out.insert(out.end(), path->net.begin(), path->net.end());
        out.insert(out.end(), path->turnover.begin(), path->turnover.end());
        for (std::size_t row = 0; row < rows; ++row) {
            const auto due = run.weights(model, row, weights);
            CHECK(bool(due));
            if (*due) out.insert(out.end(), weights.begin(), weights.end());
        }
        out.push_back(*run.metric(model, "sharpe"));
    }
    return out;
}

bool same(const std::vector<double> &one, const std::vector<double> &other) {
    return one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size() * sizeof(double)) == 0;
}

using Loop = std::function<void(std::size_t, const std::function<void(std::size_t)> &)>;

wf::Runtime runtime(const std::string &plugins, std::size_t threads, Loop loop = nullptr) {
    wf::RuntimeOptions options;
    options.threads = threads;
    options.plugin_path = plugins;
    options.parallel_for = std::move(loop);
    auto made = wf::Runtime::make(std::move(options));
    CHECK(bool(made));
    CHECK(bool(made->add("tiny", tiny_init)));
    return std::move(*made);
}

wf::Run experiment(const wf::Runtime &runtime, const std::string &more = "") {
    const auto arrays = tiny_arrays();
    const std::vector<std::string> names = {"MID", "ZED", "ABE"};
    auto panel = wf::Panel::make(wf::Kind::prices, {arrays.dates, arrays.rows}, names,
                                 {arrays.values, arrays.rows * arrays.assets});
    CHECK(bool(panel));
    auto run = wf::Run::make(runtime, *panel, TINY_EXPERIMENT + more);
    CHECK(bool(run));
    return std::move(*run);
}

void finish(wf::Run &run) {
    for (auto progress = run.progress(); !progress->finished;) {
        progress = run.step();
        CHECK(bool(progress));
    }
}

// One thread an index.
void threads_loop(std::size_t count, const std::function<void(std::size_t)> &task) {
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < count; ++index) threads.emplace_back(task, index);
    for (auto &thread : threads) thread.join();
}

void many_read_one_handle(const std::string &plugins) {
    const auto shared = runtime(plugins, 2);
    auto run = experiment(shared);
    finish(run);
    const auto expected = everything(run);
    std::atomic<int> equal{0}, made{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&] {
            for (int round = 0; round < 20; ++round) equal += same(everything(run), expected);
            auto own = experiment(shared); // runtimes are shared as well
            finish(own);
            made += same(everything(own), expected);
        });
    }
    for (auto &thread : threads) thread.join();
    CHECK(equal == 160 && made == 8);
    std::printf("8 threads read one run 160 times, and made 8 runs of one runtime: all equal\n");
}

void two_change_one_handle(const std::string &plugins) {
    const auto slow = runtime(plugins, 2);
    auto run = experiment(slow, "settings = { sleep_ms = 20 }\n");
    std::atomic<int> refused{0}, answered{0};
    const auto insist = [&] {
        for (bool finished = false; !finished;) {
            const auto step = run.step();
            const auto sharpe = run.metric(1, "sharpe");
            if (!step) CHECK(step.error().code() == WF_E_BUSY);
            if (!sharpe) CHECK(sharpe.error().code() == WF_E_BUSY);
            refused += !step + !sharpe;
            answered += bool(step) + bool(sharpe);
            finished = step && step->finished;
            std::this_thread::sleep_for(moment);
        }
    };
    std::thread other(insist);
    insist();
    other.join();
    CHECK(refused > 0);
    auto reference = experiment(slow);
    finish(reference);
    CHECK(same(everything(run), everything(reference)));
    std::printf("two threads on one run: %d calls refused as busy, %d answered, the result that of one\n",
                refused.load(), answered.load());
}

void cancel_from_another_thread(const std::string &plugins) {
    const auto slow = runtime(plugins, 2);
    auto run = experiment(slow, "settings = { sleep_ms = 150 }\n");
    int cancelled = 0;
    for (int round = 0; round < 3; ++round) {
        std::atomic<int32_t> code{-1};
        std::thread stepping([&] {
            const auto step = run.step();
            code = step ? WF_OK : step.error().code();
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        CHECK(bool(run.cancel()));
        stepping.join();
        cancelled += code == WF_E_CANCELLED;
    }
    CHECK(cancelled == 3);
    CHECK(run.progress()->done == 0);
    finish(run);
    auto reference = experiment(slow);
    finish(reference);
    CHECK(same(everything(run), everything(reference)));
    std::printf("3 steps cancelled by another thread; the run went on to the same result\n");
}

void loops_of_the_host(const std::string &prices, const std::string &plugins) {
    const std::string text = "[portfolio]\ncost_bps = 10\n[[models]]\nname = \"hrp\"\n";
    auto panel = wf::Panel::read(prices);
    CHECK(bool(panel));
    const auto walk = [&](const wf::Runtime &by) {
        auto run = wf::Run::make(by, *panel, text);
        CHECK(bool(run));
        finish(*run);
        return everything(*run);
    };
    const auto pool = walk(runtime(plugins, 2));
    const auto backwards = [](std::size_t count, const std::function<void(std::size_t)> &task) {
        while (count > 0) task(--count);
    };
    CHECK(same(walk(runtime(plugins, 1)), pool));
    CHECK(same(walk(runtime(plugins, 3, threads_loop)), pool));
    CHECK(same(walk(runtime(plugins, 2, backwards)), pool));
    std::printf("%zu numbers of HRP are the same bytes from pools of 1 and 2 threads and two loops of the host\n",
                pool.size());

    int calls = 0;
    const std::vector<Loop> broken = {
        [](std::size_t, const std::function<void(std::size_t)> &) { throw std::runtime_error("the host's loop"); },
        [](std::size_t, const std::function<void(std::size_t)> &) {},
        [&](std::size_t count, const std::function<void(std::size_t)> &task) {
            if (++calls > 2) return threads_loop(count, task);
            throw 7;
        },
    };
    for (const auto &loop : broken) {
        auto with = runtime(plugins, 2, loop);
        auto run = experiment(with);
        const auto step = run.step();
        CHECK(!step && step.error().code() != WF_OK);
        CHECK(step.error().message().find("parallel_for") != std::string::npos);
        CHECK(run.progress()->done == 0);
        if (&loop == &broken.back()) {
            CHECK(!run.step()); // the second failure
            finish(run);
        }
    }
    std::printf("loops of the host that throw or do nothing: 3 clean errors, and the run goes on\n");
}

// Other rounding and traps in the host: the same bytes, and the host's modes are as it left them.
void another_floating_point_environment(const std::string &prices, const std::string &plugins) {
    const std::string text = "[windows]\nstep_months = 120\n[portfolio]\ncost_bps = 10\n[train]\nmax_epochs = 1\n"
                             "[[models]]\nname = \"hrp\"\n[[models]]\nname = \"lstm\"\n"
                             "settings = { hidden_size = 8, lookback = 10 }\n";
    const auto walk = [&](Loop loop) {
        auto panel = wf::Panel::read(prices);
        CHECK(bool(panel));
        const auto by = runtime(plugins, 2, std::move(loop));
        auto run = wf::Run::make(by, *panel, text);
        CHECK(bool(run));
        finish(*run);
        return everything(*run);
    };
    const auto reference = walk(nullptr);
    const int traps = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW;
    const Loop rounds_up = [](std::size_t count, const std::function<void(std::size_t)> &task) {
        std::fesetround(FE_UPWARD);
        while (count > 0) task(--count);
    };
    for (const int rounding : {FE_UPWARD, FE_TONEAREST}) {
        std::fesetround(rounding);
        feenableexcept(traps);
        const auto own = walk(nullptr), looped = walk(rounds_up);
        const int rounding_after = std::fegetround(), traps_after = fegetexcept();
        fedisableexcept(traps);
        std::fesetround(FE_TONEAREST);
        CHECK(same(own, reference) && same(looped, reference));
        CHECK(rounding_after == rounding && traps_after == traps);
    }
    std::printf("a host that rounds up, with traps on: %zu numbers of HRP and LSTM are the same bytes\n",
                reference.size());
}

void fork_with_handles(const std::string &plugins) {
    auto parent = runtime(plugins, 2);
    auto run = experiment(parent);
    CHECK(bool(run.step()));
    auto panel = run.panel();
    auto windows = run.windows();
    auto plugin = wf::Plugin::load(parent, "tiny");
    CHECK(panel && windows && plugin);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(run.step().error().code() == WF_E_FORKED);
        CHECK(run.progress().error().code() == WF_E_FORKED);
        CHECK(run.cancel().error().code() == WF_E_FORKED);
        CHECK(panel->rows().error().code() == WF_E_FORKED);
        CHECK(windows->count().error().code() == WF_E_FORKED);
        CHECK(plugin->describe().error().code() == WF_E_FORKED);
        CHECK(wf::Plugin::load(parent, "tiny").error().code() == WF_E_FORKED);
        {
            // What was inherited may be freed, and the child may start anew.
            const auto freed_run = std::move(run);
            const auto freed_panel = std::move(*panel);
            const auto freed_windows = std::move(*windows);
            const auto freed_plugin = std::move(*plugin);
            const auto freed_runtime = std::move(parent);
        }
        auto own = runtime(plugins, 2);
        auto again = experiment(own);
        finish(again);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish(run);
    std::printf("a forked child is told, frees what it inherited and starts anew; the parent goes on\n");
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 3);
    const std::string prices = arguments[1], plugins = arguments[2];
    many_read_one_handle(plugins);
    two_change_one_handle(plugins);
    cancel_from_another_thread(plugins);
    loops_of_the_host(prices, plugins);
    another_floating_point_environment(prices, plugins);
    fork_with_handles(plugins);
    std::printf("%ld checks hold\n", checks);
}
