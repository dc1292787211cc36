// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A small event-driven backtester that drives walkforge. It owns the data, the clock, the orders and the cash; the
// library only says which weights are due at a bar. Orders decided at one close are filled at the next, so the
// experiment uses execution_lag = 1. At the end the backtester's accounts are compared with the returns.csv that
// walkforge wrote.
//
// usage: engine PRICES.csv PLUGIN_FOLDER OUT_FOLDER [EPOCHS]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "walkforge.hpp"

namespace {

const double missing = std::numeric_limits<double>::quiet_NaN();

// The engine's own copy of the market, bar by bar.
struct Market {
    std::vector<std::string> assets;
    std::vector<std::int32_t> dates;
    std::vector<double> prices; // [bars, assets]

    double price(std::size_t bar, std::size_t asset) const { return prices[bar * assets.size() + asset]; }
};

std::vector<std::string> cells(const std::string &line) {
    std::vector<std::string> out;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) out.push_back(cell);
    return out;
}

std::optional<std::int32_t> date(const std::string &text) {
    int year = 0, month = 0, day = 0;
    if (std::sscanf(text.c_str(), "%d-%d-%d", &year, &month, &day) != 3) return std::nullopt;
    return wf::days(year, month, day);
}

std::optional<Market> read_market(const std::string &path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    Market market;
    const auto header = cells(line);
    market.assets.assign(header.begin() + 1, header.end());
    while (std::getline(file, line)) {
        const auto row = cells(line);
        const auto day = date(row.at(0));
        if (!day || row.size() != header.size()) return std::nullopt;
        market.dates.push_back(*day);
        for (std::size_t cell = 1; cell < row.size(); ++cell) {
            market.prices.push_back(row[cell].empty() ? missing : std::stod(row[cell]));
        }
    }
    return market;
}

// One day in the ledger of an account.
struct Day {
    double gross; // return of the positions, relative to the amount invested
    double cost;  // fees of the trade that takes effect on this day, relative to the equity before fees
};

// An account of shares and cash. Fractional shares may be traded; fees are proportional to the value traded.
class Account {
  public:
    Account(const Market &market, double cost_bps)
        : market_(market), fee_(cost_bps * 1e-4), shares_(market.assets.size(), 0.0),
          last_(market.assets.size(), 0.0) {}

    // At the close, marks positions to market and returns the day's result.
    Day mark(std::size_t bar) {
        const double before = invested();
        for (std::size_t asset = 0; asset < shares_.size(); ++asset) {
            const double price = market_.price(bar, asset);
            if (!std::isnan(price)) last_[asset] = price;
        }
        const double earned = invested() - before;
        const Day day{before == 0.0 ? 0.0 : earned / before, fees_due_};
        fees_due_ = 0.0;
        return day;
    }

    // Fills an order of the last close at this close: afterwards `weights` of the equity after fees are held.
    void fill(const std::vector<double> &weights) {
        const double equity = cash_ + invested();
        std::vector<double> target(weights.size());
        double fees = 0.0;
        // Fees reduce the equity to invest, which in turn reduces the fees; a fixed-point iteration converges fast.
        for (int round = 0; round < 50; ++round) {
            double traded = 0.0;
            for (std::size_t asset = 0; asset < weights.size(); ++asset) {
                target[asset] = weights[asset] * (equity - fees);
                traded += std::abs(target[asset] - shares_[asset] * last_[asset]);
            }
            fees = fee_ * traded;
        }
        double spent = 0.0;
        for (std::size_t asset = 0; asset < weights.size(); ++asset) {
            if (last_[asset] <= 0.0) continue; // no price yet, so nothing can be bought
            spent += target[asset] - shares_[asset] * last_[asset];
            shares_[asset] = target[asset] / last_[asset];
        }
        cash_ -= spent + fees;
        fees_due_ += fees / equity;
    }

    double equity() const { return cash_ + invested(); }

  private:
    double invested() const {
        double sum = 0.0;
        for (std::size_t asset = 0; asset < shares_.size(); ++asset) sum += shares_[asset] * last_[asset];
        return sum;
    }

    const Market &market_;
    double fee_;
    double cash_ = 1.0;
    double fees_due_ = 0.0;
    std::vector<double> shares_;
    std::vector<double> last_; // the last price seen
};

struct Written {
    double gross, net;
};

// The rows of one model in returns.csv, by date.
std::map<std::int32_t, Written> read_returns(const std::string &path, std::string_view model) {
    std::map<std::int32_t, Written> out;
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
        const auto row = cells(line);
        if (row.at(2) == model) out[*date(row[0])] = {std::stod(row[3]), std::stod(row[5])};
    }
    return out;
}

int failed(const wf::Error &error) {
    std::cerr << "engine: " << error.message() << "\n";
    return 2;
}

// The result of one backtest, as it is printed.
struct Outcome {
    std::string model;
    std::size_t days;
    double equity, wealth, gross_error, net_error, sharpe;
};

// Runs the market bar by bar for every model of the experiment, then compares accounts with returns.csv.
int backtest(const wf::Runtime &runtime, const Market &market, double cost_bps, const std::string &epochs,
             const std::string &folder, std::vector<Outcome> &outcomes) {
    auto panel = wf::Panel::make(wf::Kind::prices, market.dates, market.assets, market.prices);
    if (!panel) return failed(panel.error());
    std::ostringstream experiment;
    experiment << "[portfolio]\nrebalance = \"monthly\"\nexecution_lag = 1\ncost_bps = " << cost_bps
               << "\n[[models]]\nname = \"hrp\"\n";
    // A small network and few epochs, so that the example takes a minute; examples/experiments/lstm.toml is the full
    // one.
    if (epochs != "0") {
        experiment << "[[models]]\nname = \"lstm\"\n[models.settings]\nhidden_size = 32\n[models.train]\nmax_epochs = "
                   << epochs << "\nearly_stop_epochs = 5\nlearning_rate = 0.003\n";
    }
    auto run = wf::Run::make(runtime, *panel, experiment.str());
    if (!run) return failed(run.error());
    const auto models = run->model_count();
    if (!models) return failed(models.error());

    std::vector<Account> accounts(*models, Account(market, cost_bps));
    std::vector<std::map<std::int32_t, Day>> ledgers(*models);
    std::vector<std::optional<std::vector<double>>> orders(*models);
    std::vector<double> weights(market.assets.size());
    for (std::size_t bar = 0; bar < market.dates.size(); ++bar) {
        for (std::size_t model = 0; model < *models; ++model) {
            ledgers[model][market.dates[bar]] = accounts[model].mark(bar);
            if (orders[model]) accounts[model].fill(*orders[model]);
            orders[model].reset();
            auto due = run->weights(model, bar, weights);
            while (!due && due.error().code() == WF_E_NOT_READY) {
                // The window that decides here is not computed yet: advance the run one step at a time.
                if (auto progress = run->step(); !progress) return failed(progress.error());
                due = run->weights(model, bar, weights);
            }
            if (!due) return failed(due.error());
            if (*due) orders[model] = weights;
        }
    }
    // Finish windows that no bar needed: the data may end before the last test span does.
    for (auto progress = run->progress(); progress && !progress->finished;) {
        progress = run->step();
        if (!progress) return failed(progress.error());
    }
    if (auto saved = run->save(folder); !saved) return failed(saved.error());

    for (std::size_t model = 0; model < *models; ++model) {
        const auto name = run->model_name(model);
        const auto sharpe = run->metric(model, "sharpe");
        if (!name || !sharpe) return failed(!name ? name.error() : sharpe.error());
        Outcome outcome{std::string(*name), 0, accounts[model].equity(), 1.0, 0.0, 0.0, *sharpe};
        for (const auto &[day, written] : read_returns(folder + "/returns.csv", *name)) {
            const Day &ours = ledgers[model].at(day);
            outcome.gross_error = std::max(outcome.gross_error, std::abs(ours.gross - written.gross));
            outcome.net_error = std::max(outcome.net_error, std::abs(ours.gross - ours.cost - written.net));
            outcome.wealth *= 1.0 + written.net;
            ++outcome.days;
        }
        outcomes.push_back(outcome);
    }
    return 0;
}

} // namespace

int main(int count, char **arguments) {
    if (count != 4 && count != 5) {
        std::cerr << "usage: engine PRICES.csv PLUGIN_FOLDER OUT_FOLDER [EPOCHS]\n";
        return 2;
    }
    const std::string epochs = count == 5 ? arguments[4] : "12";
    const auto market = read_market(arguments[1]);
    if (!market || market->dates.empty()) {
        std::cerr << "engine: " << arguments[1] << " is not a CSV file of prices\n";
        return 2;
    }
    wf::RuntimeOptions options;
    options.plugin_path = arguments[2];
    options.log = [](std::int32_t, std::string_view message) { std::cerr << message << "\n"; };
    auto runtime = wf::Runtime::make(std::move(options));
    if (!runtime) return failed(runtime.error());

    std::printf("walkforge %.*s in a C++ engine: %zu bars of %zu assets, orders filled at the next close\n",
                static_cast<int>(wf::version().size()), wf::version().data(), market->dates.size(),
                market->assets.size());
    std::printf("%-14s %4s %6s %8s %15s %15s %20s %18s\n", "model", "bps", "days", "sharpe", "equity, engine",
                "wealth, file", "max gross error", "max net error");
    bool agree = true;
    const std::string out = arguments[3];
    for (const double cost_bps : {0.0, 10.0}) {
        std::vector<Outcome> outcomes;
        const auto folder = out + (cost_bps == 0.0 ? "/free" : "/costs");
        if (const int code = backtest(*runtime, *market, cost_bps, epochs, folder, outcomes); code != 0) return code;
        for (const auto &outcome : outcomes) {
            std::printf("%-14s %4.0f %6zu %8.3f %15.4f %15.4f %20.1e %18.1e\n", outcome.model.c_str(), cost_bps,
                        outcome.days, outcome.sharpe, outcome.equity, outcome.wealth, outcome.gross_error,
                        outcome.net_error);
            agree = agree && outcome.days > 0 && outcome.gross_error <= 1e-9;
            // The account pays its fees out of what it invests, returns.csv takes them off the day's return. The trade of a
            // day, at most twice the equity, then differs by the fees of its fees.
            const double fee = cost_bps * 1e-4;
            agree = agree && outcome.net_error <= 1e-9 + 2.0 * fee * fee;
        }
    }
    std::printf("the engine's accounts and returns.csv %s\n", agree ? "agree" : "DIFFER");
    std::printf("report: %s/costs/report.html\n", out.c_str());
    return agree ? 0 : 1;
}
