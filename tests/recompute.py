"""Recomputes a run from its weights and the prices alone, and compares to 1e-12: every return, cost and turnover, and
the Sharpe ratio, drawdown and turnover of run.json.

Usage: python3 tests/recompute.py RUN_DIR PRICES.csv COST_BPS EXECUTION_LAG
"""

import csv
import json
import math
import statistics
import sys
from collections import defaultdict


def main():
    folder, prices_file, cost_bps, lag = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    with open(prices_file, newline="") as file:
        header, *rows = csv.reader(file)
    names, dates = header[1:], [row[0] for row in rows]
    prices = [[float(cell) for cell in row[1:]] for row in rows]
    row_of = {date: row for row, date in enumerate(dates)}

    targets = defaultdict(lambda: defaultdict(dict))
    with open(f"{folder}/weights.csv", newline="") as file:
        for line in csv.DictReader(file):
            targets[line["model"]][row_of[line["date"]]][line["asset"]] = float(line["weight"])
    paths = defaultdict(list)
    with open(f"{folder}/returns.csv", newline="") as file:
        for line in csv.DictReader(file):
            paths[line["model"]].append(line)
    with open(f"{folder}/run.json") as file:
        summary = json.load(file)["summary"]

    worst = 0.0
    compared = 0

    def near(what, ours, theirs):
        nonlocal worst, compared
        compared += 1
        worst = max(worst, abs(ours - theirs))
        if not abs(ours - theirs) <= 1e-12 * max(1.0, abs(theirs)):
            sys.exit(f"{what}: {ours} recomputed, {theirs} written")

    assert set(targets) == set(paths) == set(summary), "the three files name different models"
    for model, path in paths.items():
        held, previous = [0.0] * len(names), None
        net, turnovers, wealth, top, deepest = [], [], 1.0, 1.0, 0.0
        for line in path:
            row = row_of[line["date"]]
            if previous is not None and row != previous + 1:
                held = [0.0] * len(names)  # after a gap in the test dates the portfolio starts in cash
            previous = row
            earned = [after / before - 1 for before, after in zip(prices[row - 1], prices[row])]
            traded = 0.0
            target = targets[model].get(row - 1 - lag)
            if target is not None:
                after = [target[name] for name in names]
                assert abs(math.fsum(after) - 1) < 1e-9 and min(after) >= 0
                traded = math.fsum(abs(new - old) for new, old in zip(after, held))
                held = after
            gross = math.fsum(weight * value for weight, value in zip(held, earned))
            held = [weight * (1 + value) / (1 + gross) for weight, value in zip(held, earned)]
            cost = cost_bps * 1e-4 * traded
            where = f"{model} on {line['date']}"
            near(f"gross of {where}", gross, float(line["gross"]))
            near(f"cost of {where}", cost, float(line["cost"]))
            near(f"net of {where}", gross - cost, float(line["net"]))
            near(f"turnover of {where}", traded / 2, float(line["turnover"]))
            net.append(gross - cost)
            turnovers.append(traded / 2)
            wealth *= 1 + gross - cost
            top = max(top, wealth)
            deepest = min(deepest, wealth / top - 1)
        written = summary[model]
        near(f"sharpe of {model}", statistics.fmean(net) / statistics.stdev(net) * math.sqrt(252), written["sharpe"])
        near(f"drawdown of {model}", deepest, written["max_drawdown"])
        near(f"turnover of {model}", statistics.fmean(turnovers) * 252, written["turnover"])
        print(
            f"{model}: {len(path)} days, Sharpe {written['sharpe']:.3f}, growth {written['cagr']:.1%} a year, "
            f"drawdown {written['max_drawdown']:.1%}, turnover {written['turnover']:.0%} a year"
        )
    print(f"recomputed {compared} figures in Python, largest difference {worst:.1e}: {folder}")


main()
