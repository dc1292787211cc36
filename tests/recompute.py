"""Recomputes a run from its weights and the prices alone, and compares to a tolerance of 1e-12: every return, cost and
turnover; the rows on which each model decides, from the calendar; the Sharpe ratio, drawdown and turnover in run.json,
in total and per test span, errors and moments in total; the price gaps; and the overfitting monitor of each fitted model
but for its errors. Given the same run without bounds, it also projects that run's weights onto the bounds, and compares
every weight and every change by constraints.

Usage: python3 tests/recompute.py RUN_DIR PRICES.csv COST_BPS EXECUTION_LAG [RUN_DIR_WITHOUT_BOUNDS]
"""

import csv
import datetime
import json
import math
import statistics
import sys
from collections import defaultdict

worst = 0.0
periods = None
compared = 0


def near(what, ours, theirs):
    global worst, compared
    compared += 1
    worst = max(worst, abs(ours - theirs))
    if not abs(ours - theirs) <= 1e-12 * max(1.0, abs(theirs)):
        sys.exit(f"{what}: {ours} recomputed, {theirs} written")


def same(what, ours, theirs):
    global compared
    compared += 1
    if ours != theirs:
        sys.exit(f"{what}: {ours} recomputed, {theirs} written")


class Prices:
    def __init__(self, file_name):
        with open(file_name, newline="") as file:
            header, *rows = csv.reader(file)
        self.names, self.dates = header[1:], [row[0] for row in rows]
        self.prices = [[float(cell) if cell else None for cell in row[1:]] for row in rows]
        self.row_of = {date: row for row, date in enumerate(self.dates)}
        # A day without a price has a return of 0; the next day with a price earns the whole move.
        self.earned, last = [], [None] * len(self.names)
        for row in self.prices:
            self.earned.append(
                [now / before - 1 if now and before else 0.0 for now, before in zip(row, last)]
            )
            last = [now or before for now, before in zip(row, last)]


def rows_per_year(dates):
    """Rows per year from the median number of days over five rows."""
    days = [datetime.date.fromisoformat(date).toordinal() for date in dates]
    measured = 5 * 365.25 / statistics.median(after - before for before, after in zip(days, days[5:]))
    usual = {252: (240, 266), 365: (340, 372), 52: (48, 54), 12: (11.4, 12.6), 4: (3.8, 4.2), 1: (0.95, 1.05)}
    return next(rows for rows, (low, high) in usual.items() if low <= measured <= high)


def read_weights(folder, prices):
    """Per model and decision row: the window and the weights."""
    targets = defaultdict(dict)
    with open(f"{folder}/weights.csv", newline="") as file:
        for line in csv.DictReader(file):
            row = prices.row_of[line["date"]]
            window, weights = targets[line["model"]].setdefault(row, (int(line["window"]), {}))
            assert window == int(line["window"]), f"two windows decide on {line['date']}"
            weights[line["asset"]] = float(line["weight"])
    return {
        model: {row: (window, [weights[name] for name in prices.names]) for row, (window, weights) in decided.items()}
        for model, decided in targets.items()
    }


class Account:
    """A portfolio that starts in cash, and again wherever a row does not follow the previous one."""

    def __init__(self, prices, targets, cost_bps, lag):
        self.prices, self.targets, self.cost_bps, self.lag = prices, targets, cost_bps, lag
        self.previous, self.net, self.turnovers = None, [], []
        self.wealth, self.peak, self.max_drawdown = 1.0, 1.0, 0.0
        self.gap_days, self.gap_moves = 0, 0

    def advance(self, row):
        if self.previous is None or row != self.previous + 1:
            self.held = [0.0] * len(self.prices.names)
        self.previous = row
        traded = 0.0
        target = self.targets.get(row - 1 - self.lag)
        if target is not None:
            traded = math.fsum(abs(new - old) for new, old in zip(target, self.held))
            self.held = target
        for weight, now, before in zip(self.held, self.prices.prices[row], self.prices.prices[row - 1]):
            if weight and now is None:
                self.gap_days += 1
            elif weight and before is None:
                self.gap_moves += 1
        earned = self.prices.earned[row]
        gross = math.fsum(weight * value for weight, value in zip(self.held, earned))
        self.held = [weight * (1 + value) / (1 + gross) for weight, value in zip(self.held, earned)]
        cost = self.cost_bps * 1e-4 * traded
        self.net.append(gross - cost)
        self.turnovers.append(traded / 2)
        self.wealth *= 1 + gross - cost
        self.peak = max(self.peak, self.wealth)
        self.max_drawdown = min(self.max_drawdown, self.wealth / self.peak - 1)
        return gross, cost, gross - cost, traded / 2

    def compare(self, what, written):
        sharpe = statistics.fmean(self.net) / statistics.stdev(self.net) * math.sqrt(periods)
        near(f"sharpe of {what}", sharpe, written["sharpe"])
        near(f"drawdown of {what}", self.max_drawdown, written["max_drawdown"])
        near(f"turnover of {what}", statistics.fmean(self.turnovers) * periods, written["turnover"])


def scheduled_rows(dates, rebalance, first):
    """The rows at whose close the schedule rebalances; `first` is the row of the first decision of all."""
    days = [datetime.date.fromisoformat(date) for date in dates]
    period = {
        "daily": lambda day: day,
        "weekly": lambda day: day - datetime.timedelta(days=day.weekday()),
        "monthly": lambda day: (day.year, day.month),
        "quarterly": lambda day: (day.year, (day.month + 2) // 3),
    }.get(rebalance)
    if period is None:
        return {row for row in range(len(days) - 1) if (row - first) % int(rebalance) == 0}
    return {row for row in range(len(days) - 1) if period(days[row]) != period(days[row + 1])}


def compare_schedule(document, prices, targets, lag):
    """The windows' rows, joined, and the calendar say on which rows each model decides, and which window owns them."""
    starts = [prices.row_of[window["test"]["start"]] for window in document["windows"]]
    ends = [prices.row_of[window["test"]["end"]] + 1 for window in document["windows"]]
    ends = [min(end, start) for end, start in zip(ends, starts[1:] + [ends[-1]])]
    first = starts[0] - 1 - lag
    scheduled = scheduled_rows(prices.dates, document["settings"]["portfolio"]["rebalance"], first)
    owner = {}
    for window, (start, end) in enumerate(zip(starts, ends)):
        joins = window > 0 and ends[window - 1] == start
        for row in range(start - 1 - lag, end - 1 - lag):
            if row in scheduled or (row == start - 1 - lag and not joins):
                owner[row] = window
    for model, decided in targets.items():
        same(f"decision rows of {model}", owner, {row: window for row, (window, _) in decided.items()})
    never_held = [window for window in range(len(starts)) if window not in owner.values()]
    same("schedule", {"first_decision": prices.dates[first], "never_held": never_held}, document["schedule"])


def projected(values, members, most):
    """The nearest weights that sum to 1 and lie between 0 and `most`: shifted by one amount, found by bisection, and cut."""
    low, high = -1.0, 1.0
    for _ in range(200):
        shift = (low + high) / 2
        total = math.fsum(min(max(value - shift, 0.0), most) for value, member in zip(values, members) if member)
        low, high = (shift, high) if total >= 1 else (low, shift)
    return [min(max(value - low, 0.0), most) if member else 0.0 for value, member in zip(values, members)]


def compare_bounds(document, prices, targets, free):
    """Each weight is the projection of that without bounds, and run.json has the weight that was moved per decision."""
    most = document["settings"]["portfolio"]["max_weight"]
    assert most < 1, "the run has no bound to compare"
    for model, decided in targets.items():
        same(f"decisions of {model}", sorted(free[model]), sorted(decided))
        recorded = {}
        for index, window in enumerate(document["windows"]):
            entries = window["models"][model]["constraints"]["test"].get("bounds", {"entries": []})["entries"]
            recorded.update({(index, date): moved for date, moved in entries})
        count, total = 0, 0.0
        for row, (window, weights) in decided.items():
            members = [price is not None for price in prices.prices[row]]
            ours = projected(free[model][row][1], members, most)
            for name, one, two in zip(prices.names, ours, weights):
                near(f"weight of {name} in {model} on {prices.dates[row]}", one, two)
            moved = math.fsum(abs(one - two) for one, two in zip(ours, free[model][row][1]))
            near(f"weight moved in {model} on {prices.dates[row]}", moved, recorded.get((window, prices.dates[row]), 0.0))
            count += (window, prices.dates[row]) in recorded
            total += moved
        written = document["summary"][model]["constraints"].get("bounds", {"decisions": 0, "moved": 0.0})
        same(f"decisions of {model} changed by bounds", count, written["decisions"])
        near(f"weight moved in {model}", total, written["moved"])


def ranks(values):
    """Ranks from 1; equal values have the mean of their ranks."""
    order = sorted(values)
    return [order.index(value) + (order.count(value) + 1) / 2 for value in values]


def lags(rows):
    return min(math.floor(4 * (rows / 100) ** (2 / 9)), rows // 10)


def long_run_variance(values):
    """The variance of the sum, with Bartlett's weights."""
    count = lags(len(values))
    total = math.fsum(value * value for value in values)
    for lag in range(1, count + 1):
        total += 2 * (1 - lag / (count + 1)) * math.fsum(one * two for one, two in zip(values, values[lag:]))
    return total


def compare_uncertainty(model, net, benchmark, written):
    """Recomputes the errors of the Sharpe ratio, its probability, and the line on the benchmark."""
    rows, mean, deviation = len(net), statistics.fmean(net), statistics.stdev(net)
    z = [(value - mean) / deviation for value in net]
    influence = [math.sqrt(periods) / rows * (one - mean / (2 * deviation) * (one * one - 1)) for one in z]
    error = math.sqrt(long_run_variance(influence))
    near(f"error of the sharpe of {model}", error, written["sharpe_error"])
    near(f"interval of the sharpe of {model}", written["sharpe"] - 1.96 * error, written["sharpe_low"])
    spread = statistics.pstdev(net)
    skew, kurtosis = (statistics.fmean(((value - mean) / spread) ** power for value in net) for power in (3, 4))
    near(f"skew of {model}", skew, written["skew"])
    near(f"kurtosis of {model}", kurtosis, written["kurtosis"])
    ratio = mean / deviation
    scale = math.sqrt(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2)
    near(f"psr of {model}", statistics.NormalDist().cdf(ratio * math.sqrt(rows - 1) / scale), written["psr"])
    beta, alpha = statistics.linear_regression(benchmark, net)
    near(f"beta of {model}", beta, written["beta"])
    near(f"alpha of {model}", alpha * periods, written["alpha"])
    active = [one - other for one, other in zip(net, benchmark)]
    near(f"tracking error of {model}", statistics.stdev(active) * math.sqrt(periods), written["tracking_error"])


def compare_monitor(document, model):
    """Recomputes the overfitting monitor from the Sharpe ratios of the windows."""
    written, benchmark = document["summary"][model]["overfitting"], next(iter(document["summary"]))
    spans = [window["models"] for window in document["windows"]]
    excess = {"train": written["windows"]["train_excess"]}
    for name in ["validation", "test"]:
        excess[name] = [
            of[model][name]["sharpe"] - of[benchmark][name]["sharpe"]
            if None not in (of[model][name]["sharpe"], of[benchmark][name]["sharpe"])
            else None
            for of in spans
        ]
        same(f"{name} excess of {model}", excess[name], written["windows"][f"{name}_excess"])
    pairs = [(one, two) for one, two in zip(excess["train"], excess["test"]) if None not in (one, two)]
    if not pairs:
        return
    windows = document["settings"]["windows"]
    effective = len(pairs) * windows["step_months"] / max(windows["step_months"], windows["test_months"])
    train, test = (statistics.fmean(values) for values in zip(*pairs))
    gap, error = statistics.fmean(one - two for one, two in pairs), written["gap_standard_error"]
    near(f"mean train excess of {model}", train, written["mean_train_excess"])
    near(f"mean test excess of {model}", test, written["mean_test_excess"])
    near(f"mean gap of {model}", gap, written["mean_gap"])
    if effective < 5 or error is None:
        verdict = "undefined"
    elif train <= 0:
        verdict = "nothing_learned"
    elif gap > 2 * error:
        verdict = "overfit" if test < train / 2 else "some_overfitting"
    else:
        verdict = "none_found" if gap + 2 * error < train / 2 else "no_evidence"
    same(f"verdict on {model}", verdict, written["verdict"])
    if written["generalisation"] is not None:
        pairs = [(one, two) for one, two in zip(excess["validation"], excess["test"]) if None not in (one, two)]
        near(f"generalisation of {model}", statistics.correlation(*map(ranks, zip(*pairs))), written["generalisation"])


def main():
    folder, prices_file, cost_bps, lag = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    prices = Prices(prices_file)
    targets = read_weights(folder, prices)
    paths = defaultdict(list)
    with open(f"{folder}/returns.csv", newline="") as file:
        for line in csv.DictReader(file):
            paths[line["model"]].append(line)
    with open(f"{folder}/run.json") as file:
        document = json.load(file)
    summary, settings = document["summary"], document["settings"]
    global periods
    train = document["windows"][0]["train"]
    periods = rows_per_year(prices.dates[prices.row_of[train["start"]] : prices.row_of[train["end"]] + 1])
    same("rows per year", periods, document["data"]["periods_per_year"])
    same("data", [document["data"]["first_date"], document["data"]["last_date"]], [prices.dates[0], prices.dates[-1]])
    assert set(targets) == set(paths) == set(summary), "the three files name different models"
    most = settings["portfolio"]["max_weight"]
    for model, decided in targets.items():
        for row, (_, weights) in decided.items():
            assert abs(math.fsum(weights) - 1) < 1e-9 and min(weights) >= 0 and max(weights) <= most + 1e-12
            assert all(price is not None for price, weight in zip(prices.prices[row], weights) if weight)
    compare_schedule(document, prices, targets, lag)
    benchmarks = []
    for model, path in paths.items():
        held = {row: weights for row, (_, weights) in targets[model].items()}
        account = Account(prices, held, cost_bps, lag)
        for line in path:
            ours = account.advance(prices.row_of[line["date"]])
            for what, value in zip(["gross", "cost", "net", "turnover"], ours):
                near(f"{what} of {model} on {line['date']}", value, float(line[what]))
        written = summary[model]
        account.compare(model, written)
        benchmarks.append(account.net)
        compare_uncertainty(model, account.net, benchmarks[0], written)
        gaps = {"days_without_price": account.gap_days, "moves_after_gap": account.gap_moves}
        same(f"gaps of {model}", gaps, written["gaps"])
        if "overfitting" in written:
            compare_monitor(document, model)
        # If test spans overlap, weights.csv has only the decisions that each window contributes to the path.
        if settings["windows"]["step_months"] >= settings["windows"]["test_months"]:
            for index, window in enumerate(document["windows"]):
                own = {row: weights for row, (of, weights) in targets[model].items() if of == index}
                # A span alone also decides at its first row, whose weights the path does not have off schedule.
                if prices.row_of[window["test"]["start"]] - 1 - lag not in own:
                    continue
                account_of_window = Account(prices, own, cost_bps, lag)
                for row in range(prices.row_of[window["test"]["start"]], prices.row_of[window["test"]["end"]] + 1):
                    account_of_window.advance(row)
                account_of_window.compare(f"{model} in window {index}", window["models"][model]["test"])
        print(
            f"{model}: {len(path)} days, Sharpe {written['sharpe']:.3f}, growth {written['cagr']:.1%} a year, "
            f"drawdown {written['max_drawdown']:.1%}, turnover {written['turnover']:.0%} a year"
            + (f", {account.gap_days} asset-days without a price, {account.gap_moves} moves after" if account.gap_days else "")
        )
    if len(sys.argv) > 5:
        compare_bounds(document, prices, targets, read_weights(sys.argv[5], prices))
    print(f"recomputed {compared} figures in Python, largest difference {worst:.1e}: {folder}")


main()
