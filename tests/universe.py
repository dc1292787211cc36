"""Recomputes a run over a universe whose members change, from its prices, membership and weights.csv alone: which assets
could be held, forced exits, returns, costs and turnover to a tolerance of 1e-12, price gaps, and every constraint.

Usage: python3 tests/universe.py RUN_DIR PRICES.csv MEMBERSHIP.csv LEAST_MEMBERS MOST_MEMBERS
"""

import csv
import json
import math
import sys
from collections import defaultdict
from types import SimpleNamespace

import recompute
from recompute import Account, Terms

# Costs and rates that these runs do not have.
NOTHING = {"borrow": "0", "cash": "0", "delisting": "0"}
compared = 0


def near(what, ours, theirs, tolerance=1e-12):
    global compared
    compared += 1
    if not abs(ours - theirs) <= tolerance * max(1.0, abs(theirs)):
        sys.exit(f"{what}: {ours} recomputed, {theirs} written")


def same(what, ours, theirs):
    global compared
    compared += 1
    if ours != theirs:
        sys.exit(f"{what}: {ours} recomputed, {theirs} written")


def require(what, holds):
    global compared
    compared += 1
    if not holds:
        sys.exit(what)


def number(text):
    value = float(text)
    require(f"found {text}, which is not a finite number", math.isfinite(value))
    return value


class Market:
    def __init__(self, prices_file, membership_file, stale_rows):
        with open(prices_file, newline="") as file:
            header, *rows = csv.reader(file)
        self.names, self.dates = header[1:], [row[0] for row in rows]
        self.prices = [[float(cell) if cell else None for cell in row[1:]] for row in rows]
        self.row_of = {date: row for row, date in enumerate(self.dates)}
        self.intervals = defaultdict(list)
        with open(membership_file, newline="") as file:
            for line in csv.DictReader(file):
                self.intervals[line["ticker"]].append((line["start"], line["end"]))
        columns = range(len(self.names))
        inside = [
            [any(start <= date <= end for start, end in self.intervals.get(name, [])) for name in self.names]
            for date in self.dates
        ]
        # ISO dates are compared as strings. The age of a price is in rows.
        self.members, self.earned, last, age = [], [], [None] * len(self.names), [None] * len(self.names)
        for row, prices in enumerate(self.prices):
            earned = [0.0] * len(self.names)
            for column in columns:
                if prices[column] is None:
                    age[column] = None if age[column] is None else age[column] + 1
                else:
                    if last[column] is not None:
                        earned[column] = prices[column] / last[column] - 1
                    last[column], age[column] = prices[column], 0
            self.earned.append(earned)
            self.members.append(
                [inside[row][column] and age[column] is not None and age[column] <= stale_rows for column in columns]
            )


def compare_data(data, market, stale_rows, least, most):
    used = [name for name in market.intervals if name in set(market.names)]
    counts = sorted(sum(row) for row in market.members)
    expected = {
        "from": "membership",
        "assets": len(market.intervals),
        "intervals": sum(len(spans) for spans in market.intervals.values()),
        "assets_used": len(used),
        "intervals_used": sum(len(market.intervals[name]) for name in used),
        "assets_without_column": sorted(set(market.intervals) - set(market.names)),
        "stale_rows": stale_rows,
        "members": {"min": counts[0], "median": counts[(len(counts) - 1) // 2], "max": counts[-1]},
    }
    same("the universe in run.json", expected, data["universe"])
    same("the other values of data in run.json", ["prices", [], len(market.names)], [data["kind"], data["features"], data["assets"]])
    require("some tickers have no prices", expected["assets_without_column"])
    require(f"a universe of {least} to {most}: {expected['members']}", least <= counts[0] <= counts[-1] <= most)


class Checks:
    """Recomputes the path of one model."""

    def __init__(self, model, market, settings, document, targets):
        self.model, self.market, self.targets = model, market, targets
        self.rules, self.summary = settings["portfolio"], document["summary"][model]
        self.lag = self.rules["execution_lag"]
        self.recorded = {
            rule: {date: moved for date, moved in entry["entries"]} for rule, entry in self.summary["constraints"].items()
        }
        column = {name: index for index, name in enumerate(market.names)}
        self.groups = [
            (name, [column[asset] for asset in group["assets"]], group["min"], group["max"])
            for name, group in (self.rules["groups"] or {}).items()
        ]
        self.exits, self.breaches, self.limited = {}, 0, 0
        self.delist_rows = document["data"]["delist_rows"]
        self.moves_back = []

    def walk(self, path):
        market = self.market
        terms = Terms(market, SimpleNamespace(costs=None, cost_bps=self.rules["cost_bps"], **NOTHING), self.delist_rows)
        account = Account(market, self.targets, terms, self.lag)
        for line in path:
            row = market.row_of[line["date"]]
            if row - 1 in self.targets:
                self.decide(row - 1, account.book(row - 1))
            for what, ours in zip(["gross", "cost", "net", "turnover"], account.advance(row)):
                near(f"{what} of {self.model} on {line['date']}", ours, number(line[what]))
            for column, weight in enumerate(account.held):
                if weight and market.prices[row][column] is None:
                    require("a day without a price earns 0", market.earned[row][column] == 0.0)
                elif weight and market.prices[row - 1][column] is None:
                    self.moves_back.append((row, column))
        same(f"membership exits of {self.model}", sorted(self.exits), sorted(self.recorded.get("membership", {})))
        for date, sold in self.exits.items():
            near(f"weight of {self.model} sold on {date}", sold, self.recorded["membership"][date])
        account.compare_record(self.model, self.summary["trading"])
        self.record = account.record
        for row, column in self.moves_back:
            self.compare_gap(row, column)

    def compare_gap(self, row, column):
        """The returns of a gap and of the day after it compound to the price move over the gap."""
        before = row - 1
        while self.market.prices[before][column] is None:
            before -= 1
        wealth = math.prod(1 + self.market.earned[at][column] for at in range(before + 1, row + 1))
        near("the move over a gap", wealth, self.market.prices[row][column] / self.market.prices[before][column])

    def decide(self, row, before):
        """Checks a decision; `before` are the weights held at the close of its row."""
        market, rules, target = self.market, self.rules, self.targets[row]
        date, members = market.dates[row], market.members[row]
        for name, weight, member in zip(market.names, target, members):
            require(f"{self.model} holds {name} on {date}, which is not a member with a price", member or weight == 0.0)
        sold = math.fsum(weight for weight, member in zip(before, members) if not member)
        if sold > 0:
            self.exits[date] = sold
        # The benchmark is held to no constraint but membership.
        if self.model == "equal_weight":
            require("the benchmark holds all members alike", len({weight for weight in target if weight}) == 1)
            return
        held = sorted(weight for weight in target if weight)
        beyond = math.fsum(max(0.0, weight - rules["max_weight"]) for weight in held)
        for _, columns, low, high in self.groups:
            total = math.fsum(target[column] for column in columns)
            beyond += max(0.0, low - total, total - high)
        disallowed = 0.0
        if rules["top_k"] is not None and len(held) > rules["top_k"]:
            disallowed = math.fsum(held[: len(held) - rules["top_k"]])
        disallowed = max(disallowed, math.fsum(weight for weight in held if weight < rules["min_weight"] - 1e-12))
        # The turnover limit may leave cash that a series left which ended, or an order that was blocked.
        if date in self.recorded.get("turnover", {}) and math.fsum(before) < 1 - 1e-9:
            require(f"{self.model} borrows on {date}", math.fsum(target) < 1 + 1e-9)
        else:
            near(f"sum of weights of {self.model} on {date}", math.fsum(target), 1.0, 1e-9)
        require(f"{self.model} is short on {date}", held[0] > 0)
        if beyond + disallowed > 1e-8:
            self.breaches += 1
            require(f"{self.model} breaks a bound on {date} by {beyond + disallowed}, which is not recorded", date in self.recorded.get("drift", {}))
            require("the recorded drift covers the breach", self.recorded["drift"][date] >= beyond + disallowed - 1e-8)
            require("only the turnover limit leaves a holding beyond a bound", date in self.recorded.get("turnover", {}))
        if rules["max_turnover"] is not None and any(before):
            self.turnover(row, before, sold)

    def turnover(self, row, before, sold):
        limit, members, target = self.rules["max_turnover"], self.market.members[row], self.targets[row]
        turnover = math.fsum(abs(new - old) for new, old in zip(target, before)) / 2
        self.limited += abs(turnover - limit) < 1e-9
        if turnover <= limit + 1e-9:
            return
        # Forced exits may exceed the limit; then nothing else is traded.
        require(f"turnover of {turnover} on {self.market.dates[row]}, {sold} of it forced", sold > limit)
        kept = math.fsum(weight for weight, member in zip(before, members) if member)
        for weight, old, member in zip(target, before, members):
            near("weight after forced exits alone", old / kept if member else 0.0, weight)


def main():
    folder, prices_file, membership_file, least, most = sys.argv[1:6]
    with open(f"{folder}/run.json") as file:
        text = file.read()
    require("NaN or infinity in run.json", not any(word in text for word in ["NaN", "Infinity", "nan", "inf,"]))
    document = json.loads(text)
    stale_rows = document["data"]["universe"]["stale_rows"]
    recompute.periods = document["data"]["periods_per_year"]
    market = Market(prices_file, membership_file, stale_rows)
    compare_data(document["data"], market, stale_rows, int(least), int(most))
    column = {name: index for index, name in enumerate(market.names)}
    targets, order = defaultdict(dict), defaultdict(list)
    with open(f"{folder}/weights.csv", newline="") as file:
        for line in csv.DictReader(file):
            row = market.row_of[line["date"]]
            weights = targets[line["model"]].setdefault(row, [0.0] * len(market.names))
            weights[column[line["asset"]]] = number(line["weight"])
            order[line["model"], row].append(line["asset"])
    for assets in order.values():
        same("assets in the order of the price file", market.names, assets)
    paths = defaultdict(list)
    with open(f"{folder}/returns.csv", newline="") as file:
        for line in csv.DictReader(file):
            paths[line["model"]].append(line)
    same("models", set(targets), set(paths))
    for model, path in paths.items():
        checks = Checks(model, market, document["settings"], document, targets[model])
        checks.walk(path)
        require(f"{model} was forced to sell at least once", checks.exits)
        if checks.rules["max_turnover"] is None:
            record = checks.record
            require(f"{model} held nothing through a gap", record["days_without_price"] and record["moves_after_gap"])
        # With top_k equal weight always holds the first assets by name, so it hardly trades.
        elif model != "equal_weight":
            require(f"the turnover limit of {model} never mattered", checks.limited and checks.breaches)
        print(
            f"{model}: {len(path)} days, {len(targets[model])} decisions, {len(checks.exits)} with forced exits, "
            f"{checks.record['days_without_price']} gap days, {len(checks.record['blocked'])} orders blocked, "
            f"{len(checks.record['delisted'])} delisted; turnover limit reached {checks.limited} times, "
            f"{checks.breaches} bounds broken by it and recorded"
        )
    print(f"recomputed {compared} figures in Python: {folder}")


main()
