"""Makes hrp.csv: HRP weights by NumPy and SciPy on 20 dates of the example prices.

Run from the project's root, with numpy and scipy installed: python3 tests/golden/hrp.py
"""

import csv

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

LOOKBACK = 756


def cluster_variance(cov, items):
    block = cov[np.ix_(items, items)]
    w = 1 / np.diag(block)
    w /= w.sum()
    return w @ block @ w


def bisect(cov, items, scale, out):
    if len(items) == 1:
        out[items[0]] = scale
        return
    half = len(items) // 2
    left, right = items[:half], items[half:]
    risk_left, risk_right = cluster_variance(cov, left), cluster_variance(cov, right)
    share = 1 - risk_left / (risk_left + risk_right)
    bisect(cov, left, scale * share, out)
    bisect(cov, right, scale * (1 - share), out)


def hrp(returns):
    cov = np.cov(returns, rowvar=False)
    corr = np.corrcoef(returns, rowvar=False)
    d = np.sqrt(np.clip((1 - corr) / 2, 0, 1))
    order = leaves_list(linkage(pdist(d.T), "single"))
    out = np.empty(len(cov))
    bisect(cov, list(order), 1.0, out)
    return out


def main():
    with open("examples/data/sp500_20_prices.csv", newline="") as file:
        header, *rows = csv.reader(file)
    dates = [row[0] for row in rows]
    prices = np.array([[float(cell) for cell in row[1:]] for row in rows])
    names = header[1:]
    by_name = np.argsort(np.array(names))
    returns = prices[1:] / prices[:-1] - 1
    with open("tests/golden/hrp.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["date", "asset", "weight"])
        for row in np.linspace(LOOKBACK, len(dates) - 1, 20).astype(int):
            weights = hrp(returns[row - LOOKBACK : row, by_name])
            for asset, weight in zip(by_name, weights):
                out.writerow([dates[row], names[asset], repr(float(weight))])


main()
