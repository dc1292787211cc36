"""Recomputes a run from its weights and the prices alone, and compares to a tolerance of 1e-12: every return, cost and
turnover; the rows on which each model decides, from the calendar; the Sharpe ratio, drawdown and turnover in run.json,
in total, per test span and as each window was held; errors, moments, years and months in total; the last portfolio, its
trades and shares of risk; what was blocked, delisted or held without a price; and the overfitting monitor of each
fitted model but for its errors. Given the same run without bounds, it also projects that run's weights onto the bounds,
and compares every weight and every change by constraints.

Usage: python3 tests/recompute.py RUN_DIR PRICES.csv COST_BPS EXECUTION_LAG [RUN_DIR_WITHOUT_BOUNDS] [--costs FILE]
[--borrow RATE] [--cash RATE] [--delisting RETURN], each a number or a file
"""

import argparse
import csv
import datetime
import json
import math
import re
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


class Terms:
    """Costs and rates beside returns, and when a series counts as delisted."""

    def __init__(self, prices, options, delist_rows):
        def by_asset(setting, column, other):
            try:
                return [float(setting)] * len(prices.names)
            except ValueError:
                with open(setting, newline="") as file:
                    table = {line["ticker"]: float(line[column]) for line in csv.DictReader(file)}
                return [table.get(name, other) for name in prices.names]

        self.costs = by_asset(options.costs or options.cost_bps, "bps", options.cost_bps)
        self.borrow = by_asset(options.borrow, "rate", 0.0)
        self.delisting_returns = by_asset(options.delisting, "return", 0.0)
        self.delist_rows = delist_rows
        self.rates = None
        try:
            self.cash = float(options.cash)
        except ValueError:
            with open(options.cash, newline="") as file:
                self.rates = sorted((line["date"], float(line["rate"])) for line in csv.DictReader(file))

    def cash_return(self, before):
        """What cash earns on the row after the date `before`."""
        if self.rates is not None:
            self.cash = [rate for date, rate in self.rates if date <= before][-1]
        return self.cash / periods


class Account:
    """A portfolio that starts in cash, and again wherever a row does not follow the previous one."""

    def __init__(self, prices, targets, terms, lag):
        self.prices, self.targets, self.terms, self.lag = prices, targets, terms, lag
        self.previous, self.closed, self.net, self.turnovers = None, None, [], []
        self.wealth, self.peak, self.max_drawdown = 1.0, 1.0, 0.0
        self.record = {"days_without_price": 0, "moves_after_gap": 0, "without_price_at_end": [], "ruined": None}
        self.record.update({name: [] for name in ["blocked", "uninvested", "delisted", "relisted", "sold_without_price"]})
        self.gone = {}

    def event(self, kind, row, asset, weight):
        self.record[kind].append({"date": self.prices.dates[row], "asset": self.prices.names[asset], "weight": weight})

    def execute(self, row, target):
        """Trades at the close of a row: what has no price stays, and purchases share the cash that is there."""
        changes = [new - old for new, old in zip(target, self.held)]
        has_price = [price is not None for price in self.prices.prices[row]]
        blocked = [asset for asset, change in enumerate(changes) if abs(change) > 1e-12 and not has_price[asset]]
        after = list(target)
        if blocked:
            for asset in blocked:
                self.event("blocked", row, asset, changes[asset])
            sold = math.fsum(min(change, 0.0) for change, priced in zip(changes, has_price) if priced)
            bought = math.fsum(max(change, 0.0) for change, priced in zip(changes, has_price) if priced)
            share = min(max((1 - math.fsum(self.held) - sold) / bought, 0.0), 1.0) if bought else 1.0
            after = [
                old + (share * change if change > 0 else change) if priced else old
                for old, change, priced in zip(self.held, changes, has_price)
            ]
            left = math.fsum(target) - math.fsum(after)
            if left > 1e-12:
                self.record["uninvested"].append([self.prices.dates[row], left])
        traded = [abs(new - old) for new, old in zip(after, self.held)]
        self.rebalance = (row, self.held, after)
        self.held = after
        return math.fsum(traded), 1e-4 * math.fsum(size * cost for size, cost in zip(traded, self.terms.costs))

    def settle(self, row):
        """Executes what is due at the close of a row."""
        if self.closed == row:
            return
        if self.previous != row:
            self.held, self.gone = [0.0] * len(self.prices.names), {}
        self.closed, self.settled = row, (0.0, 0.0)
        target = self.targets.get(row - self.lag)
        if target is not None:
            self.settled = self.execute(row, target)

    def book(self, row):
        """What the constraints of a decision at the close of a row take for the book."""
        if self.lag:
            self.settle(row)
        elif self.previous != row:
            return [0.0] * len(self.prices.names)
        last = max((decided for decided in self.targets if decided < row), default=None)
        pending = last is not None and last + self.lag > row
        return [
            0.0 if asset in self.gone else weight
            for asset, weight in enumerate(self.targets[last] if pending else self.held)
        ]

    def earned(self, row):
        """Returns of a row; series without a price for too long are delisted at its close."""
        prices, earned, leaving = self.prices.prices, list(self.prices.earned[row]), []
        for asset, weight in enumerate(self.held):
            if prices[row][asset] is not None and asset in self.gone:
                self.event("relisted", row, asset, self.gone.pop(asset) * earned[asset])
            if not weight:
                continue
            if prices[row][asset] is None:
                self.record["days_without_price"] += 1
                absent = prices[max(row + 1 - self.terms.delist_rows, 0) : row + 1]
                if len(absent) == self.terms.delist_rows and all(line[asset] is None for line in absent):
                    earned[asset] = self.terms.delisting_returns[asset]
                    leaving.append(asset)
                    self.gone[asset] = weight
                    self.event("delisted", row, asset, weight)
                    self.record["delisted"][-1]["return"] = earned[asset]
            elif prices[row - 1][asset] is None:
                self.record["moves_after_gap"] += 1
        return earned, leaving

    def sell_all(self, row):
        """Turns everything to cash at the close of a row before a gap; returns Σ|w| and the cost."""
        for asset, weight in enumerate(self.held):
            if weight and self.prices.prices[row][asset] is None:
                self.event("sold_without_price", row, asset, weight)
        sold = [abs(weight) for weight in self.held]
        self.held = [0.0] * len(sold)
        return math.fsum(sold), 1e-4 * math.fsum(size * cost for size, cost in zip(sold, self.terms.costs))

    def advance(self, row, sells=False):
        self.settle(row - 1)
        self.previous = row
        traded, cost = self.settled
        earned, leaving = self.earned(row)
        cash = (1 - math.fsum(self.held)) * self.terms.cash_return(self.prices.dates[row - 1])
        gross = math.fsum(weight * value for weight, value in zip(self.held, earned)) + cash
        borrowed = (max(-weight, 0.0) * rate / periods for weight, rate in zip(self.held, self.terms.borrow))
        cost += math.fsum(borrowed)
        net = gross - cost
        if net <= -1 + 1e-12:
            net, self.held, self.record["ruined"] = -1.0, [0.0] * len(self.held), self.prices.dates[row]
        else:
            self.held = [weight * (1 + value) / (1 + gross) for weight, value in zip(self.held, earned)]
        for asset in leaving:
            self.held[asset] = 0.0
        if sells:
            sold, selling = self.sell_all(row)
            traded, cost, net = traded + sold, cost + selling, net - selling
        self.net.append(net)
        self.turnovers.append(traded / 2)
        self.wealth *= 1 + net
        self.peak = max(self.peak, self.wealth)
        self.max_drawdown = min(self.max_drawdown, self.wealth / self.peak - 1)
        return gross, cost, net, traded / 2

    def compare_record(self, model, written):
        """What was blocked, delisted and held without a price."""
        prices, last = self.prices.prices, self.previous
        for asset, weight in enumerate(self.held):
            if weight and prices[last][asset] is None:
                row = max(row for row in range(last) if prices[row][asset] is not None)
                held = {"asset": self.prices.names[asset], "weight": weight, "last_price": self.prices.dates[row]}
                self.record["without_price_at_end"].append(held)

        def flat(value):
            if isinstance(value, dict):
                return [part for key in sorted(value) for part in flat(value[key])]
            return [part for one in value for part in flat(one)] if isinstance(value, list) else [value]

        def in_order(record):
            key = lambda event: (event["date"], event["asset"])
            sort = {name: sorted(record[name], key=key) for name in ["blocked", "delisted", "relisted", "sold_without_price"]}
            at_end = sorted(record["without_price_at_end"], key=lambda held: held["asset"])
            return flat({**record, **sort, "without_price_at_end": at_end})

        ours, theirs = in_order(self.record), in_order(written)
        same(f"trading record of {model}", len(ours), len(theirs))
        for one, two in zip(ours, theirs):
            (near if isinstance(one, float) else same)(f"trading record of {model}", one, two)

    def compare_current(self, model, written, lag):
        """Compares the portfolio at the end, the last trades, and the shares of risk."""
        row, before, after = self.rebalance
        dates, names = self.prices.dates, self.prices.names
        same(f"dates of the portfolio of {model}", [dates[row - lag], dates[row]], [written["decided"], written["executed"]])
        holdings = {held["asset"]: held for held in written["holdings"]}
        for asset, name in enumerate(names):
            held = holdings.get(name, {"weight": 0.0, "traded": 0.0})
            near(f"last weight of {name} in {model}", self.held[asset], held["weight"])
            near(f"last trade of {name} in {model}", after[asset] - before[asset], held["traded"])
        if written["risk_rows"] is None:
            return
        invested = [asset for asset, weight in enumerate(after) if weight]
        prices = self.prices.prices
        complete = [all(line[asset] is not None for asset in invested) for line in prices]
        rows = [at for at in range(1, row - lag + 1) if complete[at] and complete[at - 1]][-written["risk_rows"] :]
        earned = {asset: [prices[at][asset] / prices[at - 1][asset] - 1 for at in rows] for asset in invested}
        portfolio = [math.fsum(after[asset] * earned[asset][at] for asset in invested) for at in range(len(rows))]
        for asset in invested:
            share = after[asset] * statistics.covariance(earned[asset], portfolio) / statistics.variance(portfolio)
            near(f"share of risk of {names[asset]} in {model}", share, holdings[names[asset]]["risk"])

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
    gaps = [
        {"start": prices.dates[end], "end": prices.dates[start - 1], "rows": start - end}
        for end, start in zip(ends, starts[1:])
        if end < start
    ]
    ours = {"first_decision": prices.dates[first], "gaps": gaps, "never_held": never_held, "skipped": skipped_spans(document, prices)}
    same("schedule", ours, document["schedule"])


def skipped_spans(document, prices):
    """The test spans without a date, by calendar months."""
    rules = document["settings"]["windows"]
    first = datetime.date.fromisoformat(rules["start"] or prices.dates[0])

    def later(months):
        month = first.year * 12 + first.month - 1 + months
        return datetime.date(month // 12, month % 12 + 1, 1).isoformat()

    out, begins = [], rules["train_months"] + rules["validation_months"]
    while later(begins) <= prices.dates[-1]:
        span = {"start": later(begins), "end": later(begins + rules["test_months"])}
        if not any(span["start"] <= date < span["end"] for date in prices.dates):
            out.append(span)
        begins += rules["step_months"]
    return out


def compare_report(folder, document):
    """The first table of the report shows the figures of run.json, each rounded."""
    with open(f"{folder}/report.html", encoding="utf-8") as file:
        table = re.search(r'<table class="headline">.*?</table>', file.read(), re.S).group(0)
    seen = []
    for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", table, re.S):
        name = re.search(r"</svg> (.*?)</th>", row).group(1)
        cells = [re.findall(r"[+−]?\d+\.\d+", cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.S)]
        written, against = document["summary"][name], document["summary"][name].get("against_benchmark")
        sharpe, error = written["sharpe"], written["sharpe_error"]
        expected = [[sharpe, sharpe - 1.96 * error, sharpe + 1.96 * error], []]
        if against:
            expected[1] = [against["sharpe_difference"], *against["interval"]]
        expected += [[100 * written[figure]] for figure in ("cagr", "max_drawdown", "turnover")]
        for shown, values in zip(cells, expected, strict=True):
            for text, value in zip(shown, values, strict=True):
                # Half of the last decimal place, and rounding.
                slack = 0.5 * 10.0 ** -len(text.split(".")[1]) + 1e-9
                same(f"{text} of {name} in the report", True, abs(float(text.replace("−", "-")) - value) <= slack)
        seen.append(name)
    same("models in the report", sorted(document["summary"]), sorted(seen))


def compare_held(what, account, rows, written):
    """Recomputes the figures of some rows of a path, as they were held."""
    net = [account.net[row] for row in rows]
    near(f"sharpe of {what}", statistics.fmean(net) / statistics.stdev(net) * math.sqrt(periods), written["sharpe"])
    wealth, peak, fall = 1.0, 1.0, 0.0
    for value in net:
        wealth *= 1 + value
        peak = max(peak, wealth)
        fall = min(fall, wealth / peak - 1)
    near(f"return of {what}", wealth - 1, written["total_return"])
    near(f"drawdown of {what}", fall, written["max_drawdown"])
    turnover = statistics.fmean(account.turnovers[row] for row in rows) * periods
    near(f"turnover of {what}", turnover, written["turnover"])


def compare_calendar(model, path, written):
    """Recomputes the returns of calendar years and months."""
    for name, letters in [("years", 4), ("months", 7)]:
        wealth = defaultdict(lambda: 1.0)
        for line in path:
            wealth[line["date"][:letters]] *= 1 + float(line["net"])
        same(f"{name} of {model}", list(wealth), [period for period, _ in written[name]])
        for period, earned in written[name]:
            near(f"return of {model} in {period}", wealth[period] - 1, earned)


def projected(values, most):
    """The weights with the sum 1 and at most `most`: what is cut off goes to the rest in proportion, by bisection."""
    low, high = 0.0, 1.0
    while math.fsum(min(high * value, most) for value in values) < 1:
        high *= 2
    for _ in range(200):
        factor = (low + high) / 2
        low, high = (low, factor) if math.fsum(min(factor * value, most) for value in values) >= 1 else (factor, high)
    return [min(high * value, most) for value in values]


def compare_bounds(document, prices, targets, free):
    """Each weight is what the bounds make of that without them, and run.json has the weight that was moved per decision."""
    most = document["settings"]["portfolio"]["max_weight"]
    assert most < 1, "the run has no bound to compare"
    for model, decided in list(targets.items())[1:]:
        same(f"decisions of {model}", sorted(free[model]), sorted(decided))
        recorded = {}
        for index, window in enumerate(document["windows"]):
            entries = window["models"][model]["constraints"]["test"].get("bounds", {"entries": []})["entries"]
            recorded.update({(index, date): moved for date, moved in entries})
        count, total = 0, 0.0
        for row, (window, weights) in decided.items():
            ours = projected(free[model][row][1], most)
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
    written, benchmark = document["summary"][model]["overfitting"], document["models"][0]["name"]
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


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("prices")
    parser.add_argument("cost_bps", type=float)
    parser.add_argument("lag", type=int)
    parser.add_argument("without_bounds", nargs="?")
    parser.add_argument("--costs", help="file with the columns ticker and bps")
    parser.add_argument("--borrow", default="0", help="annual rate, or a file with the columns ticker and rate")
    parser.add_argument("--cash", default="0", help="annual rate, or a file with the columns date and rate")
    parser.add_argument("--delisting", default="0", help="return, or a file with the columns ticker and return")
    return parser.parse_args()


def main():
    options = arguments()
    folder, lag = options.folder, options.lag
    prices = Prices(options.prices)
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
            assert abs(math.fsum(weights) - 1) < 1e-9 and min(weights) >= 0
            assert model == document["models"][0]["name"] or max(weights) <= most + 1e-12
            if document["data"]["universe"]["stale_rows"] == 0:
                assert all(price is not None for price, weight in zip(prices.prices[row], weights) if weight)
    compare_schedule(document, prices, targets, lag)
    compare_report(folder, document)
    terms = Terms(prices, options, document["data"]["delist_rows"])
    benchmarks = []
    for model, path in paths.items():
        held = {row: weights for row, (_, weights) in targets[model].items()}
        account = Account(prices, held, terms, lag)
        rows = [prices.row_of[line["date"]] for line in path]
        # Before a gap between test spans everything is sold.
        sells = [after != row + 1 for row, after in zip(rows, rows[1:])] + [False]
        for line, row, sells_all in zip(path, rows, sells):
            ours = account.advance(row, sells_all)
            for what, value in zip(["gross", "cost", "net", "turnover"], ours):
                near(f"{what} of {model} on {line['date']}", value, float(line[what]))
        written = summary[model]
        account.compare(model, written)
        # Growth over the years held, without gaps.
        day = lambda row: datetime.date.fromisoformat(prices.dates[row]).toordinal()
        begins = [row for row, before in zip(rows, [None] + rows) if before != row - 1]
        ends = [row for row, after in zip(rows, rows[1:] + [None]) if after != row + 1]
        years = sum(day(end) - day(begin - 1) for begin, end in zip(begins, ends)) / 365.25
        near(f"growth of {model}", account.wealth ** (1 / years) - 1, written["cagr"])
        benchmarks.append(account.net)
        compare_uncertainty(model, account.net, benchmarks[0], written)
        compare_calendar(model, path, written["calendar"])
        account.compare_current(model, written["current"], lag)
        account.compare_record(model, written["trading"])
        if "overfitting" in written:
            compare_monitor(document, model)
        for index, window in enumerate(document["windows"]):
            rows = [row for row, line in enumerate(path) if int(line["window"]) == index]
            if len(rows) > 1:
                compare_held(f"{model}, held in window {index}", account, rows, window["models"][model]["held"])
        # If test spans overlap, weights.csv has only the decisions that each window contributes to the path.
        if settings["windows"]["step_months"] >= settings["windows"]["test_months"]:
            for index, window in enumerate(document["windows"]):
                own = {row: weights for row, (of, weights) in targets[model].items() if of == index}
                # A span alone also decides at its first row, whose weights the path does not have off schedule.
                if prices.row_of[window["test"]["start"]] - 1 - lag not in own:
                    continue
                account_of_window = Account(prices, own, terms, lag)
                for row in range(prices.row_of[window["test"]["start"]], prices.row_of[window["test"]["end"]] + 1):
                    account_of_window.advance(row)
                account_of_window.compare(f"{model} in window {index}", window["models"][model]["test"])
        print(
            f"{model}: {len(path)} days, Sharpe {written['sharpe']:.3f}, growth {written['cagr']:.1%} a year, "
            f"drawdown {written['max_drawdown']:.1%}, turnover {written['turnover']:.0%} a year"
            + "".join(
                f", {len(value) if isinstance(value, list) else value} {name.replace('_', ' ')}"
                for name, value in account.record.items()
                if value
            )
        )
    if options.without_bounds:
        compare_bounds(document, prices, targets, read_weights(options.without_bounds, prices))
    print(f"recomputed {compared} figures in Python, largest difference {worst:.1e}: {folder}")


if __name__ == "__main__":
    main()
