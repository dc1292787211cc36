"""Makes example_plugins.csv: what plugins/examples should weigh on 12 dates of the example prices, by other means.

Momentum is the textbook definition. The portfolio of least variance is found by accelerated projected gradients instead of
the plugin's active set, until its gap to the optimum is below 1e-14 of the variance. Standard library only.

Run from the project's root: python3 tests/golden/example_plugins.py
"""

import csv
import math

LOOKBACK, SKIP, RIDGE = 252, 21, 0.01
OUT = "tests/golden/example_plugins.csv"


def momentum(prices, row):
    assets = len(prices[0])
    # Growth over the rows of returns row-251..row-21 is a ratio of two prices.
    growth = [prices[row - SKIP][asset] / prices[row - LOOKBACK][asset] for asset in range(assets)]
    held = sorted(range(assets), key=lambda asset: -growth[asset])[: assets // 3]
    return [1 / len(held) if asset in held else 0.0 for asset in range(assets)]


def projected(point):
    """The nearest point of the simplex (Held, Wolfe and Crowder 1974)."""
    total, theta = 0.0, 0.0
    for count, value in enumerate(sorted(point, reverse=True), 1):
        total += value
        if value > (total - 1) / count:
            theta = (total - 1) / count
    return [max(value - theta, 0.0) for value in point]


def least_variance(prices, row):
    assets = range(len(prices[0]))
    returns = [[prices[r][a] / prices[r - 1][a] - 1 for a in assets] for r in range(row - LOOKBACK + 1, row + 1)]
    means = [math.fsum(column) / LOOKBACK for column in zip(*returns)]
    deviations = [[line[a] - means[a] for line in returns] for a in assets]
    cov = [[math.fsum(x * y for x, y in zip(one, other)) / (LOOKBACK - 1) for other in deviations] for one in deviations]
    mean = math.fsum(cov[a][a] for a in assets) / len(assets)
    matrix = [[cov[a][b] / mean + (RIDGE if a == b else 0.0) for b in assets] for a in assets]
    slope = lambda w: [math.fsum(x * y for x, y in zip(line, w)) for line in matrix]
    step = 1 / max(math.fsum(map(abs, line)) for line in matrix)
    w = ahead = [1 / len(assets)] * len(assets)
    speed, gap = 1.0, math.inf
    while gap > 1e-14:
        following = projected([x - step * g for x, g in zip(ahead, slope(ahead))])
        if math.fsum(g * (new - old) for g, new, old in zip(slope(ahead), following, w)) > 0:
            speed, ahead = 1.0, w  # it points uphill: start it anew
            following = projected([x - step * g for x, g in zip(ahead, slope(ahead))])
        faster = (1 + math.sqrt(1 + 4 * speed**2)) / 2
        ahead = [new + (speed - 1) / faster * (new - old) for new, old in zip(following, w)]
        w, speed = following, faster
        gradient = slope(w)
        gap = math.fsum(x * g for x, g in zip(w, gradient)) - min(gradient)
    return w


def main():
    with open("examples/data/sp500_20_prices.csv", newline="") as file:
        header, *lines = csv.reader(file)
    dates = [line[0] for line in lines]
    prices = [[float(cell) for cell in line[1:]] for line in lines]
    # Last trading days of a month, spread over the test spans.
    ends = [row for row in range(len(dates) - 1) if dates[row][:7] != dates[row + 1][:7] and dates[row] > "1995"]
    with open(OUT, "w", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(["date", "model", "asset", "weight"])
        for row in ends[:: len(ends) // 12][:12]:
            for model, weigh in (("momentum", momentum), ("min_variance", least_variance)):
                for asset, weight in zip(header[1:], weigh(prices, row)):
                    write([dates[row], model, asset, repr(weight)])


main()
