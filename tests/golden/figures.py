"""Makes figures.json: figures of two return paths and of the overfitting monitor by NumPy and SciPy, for
src/evaluate/golden.rs.

Run from the project's root, with numpy and scipy installed: python3 tests/golden/figures.py
"""

import json

import numpy as np
from scipy import stats

ROWS, PERIODS, KEY = 300, 252, 0x1234_5678_9ABC_DEF0
rng = np.random.default_rng(5)
# Few digits, so that the file says exactly what was computed with.
other = np.round(0.0006 + 0.01 * rng.standard_t(5, ROWS), 6)
net = np.round(0.0004 + 0.8 * other + 0.004 * rng.standard_normal(ROWS) + 0.1 * np.roll(other, 1), 6)


def lags(rows, shortest):
    return min(int(np.floor(4 * (rows / 100) ** (2 / 9))), shortest // 10)


def long_run(values, count):
    """The variance of the sum as a quadratic form with Bartlett's weights."""
    distance = np.abs(np.subtract.outer(np.arange(len(values)), np.arange(len(values))))
    return values @ np.clip(1 - distance / (count + 1), 0, None) @ values


def sharpe(values):
    return values.mean() / values.std(ddof=1) * np.sqrt(PERIODS)


def influence(values):
    m, s = values.mean(), values.std(ddof=1)
    z = (values - m) / s
    return np.sqrt(PERIODS) / len(values) * (z - m / (2 * s) * (z**2 - 1))


def philox(counter, key):
    mask, c, k = 0xFFFFFFFF, list(counter), list(key)
    for turn in range(10):
        if turn:
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & mask, first >> 32 ^ c[3] ^ k[1], first & mask]
    return c


def uniform(step, position):
    words = [philox([p // 4, 0, step, 0], [KEY & 0xFFFFFFFF, KEY >> 32])[p % 4] for p in (2 * position, 2 * position + 1)]
    return (words[0] << 21 ^ words[1] >> 11) / 2**53


def compare(one, two):
    """Ledoit and Wolf (2008), circular blocks."""
    rows = len(one)
    difference = sharpe(one) - sharpe(two)
    error = np.sqrt(long_run(influence(one) - influence(two), lags(rows, rows)))
    block = max(1, round(rows ** (1 / 3)))
    sizes = []
    for step in range(999):
        starts = [int(uniform(step, draw) * rows) for draw in range(-(-rows // block))]
        index = np.concatenate([(start + np.arange(block)) % rows for start in starts])[:rows]
        psi = influence(one[index]) - influence(two[index])
        sums = [psi[at : at + block].sum() for at in range(0, rows, block)]
        sizes.append(abs(sharpe(one[index]) - sharpe(two[index]) - difference) / np.linalg.norm(sums))
    half = np.sort(sizes)[949] * error
    p = (1 + sum(size >= abs(difference) / error for size in sizes)) / 1000
    return {"difference": difference, "error": error, "low": difference - half, "high": difference + half, "p": p}


def line(one, two):
    """Least squares with the sandwich of Newey and West."""
    x = np.column_stack([np.ones(len(two)), two])
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ one
    scores, count = x * (one - x @ coefficients)[:, None], lags(len(one), len(one))
    meat = scores.T @ scores
    for lag in range(1, count + 1):
        both = scores[lag:].T @ scores[:-lag]
        meat += (1 - lag / (count + 1)) * (both + both.T)
    errors = np.sqrt(np.diag(inverse @ meat @ inverse))
    alpha, beta = coefficients
    return {"alpha": alpha * PERIODS, "alpha_error": errors[0] * PERIODS, "beta": beta, "beta_error": errors[1]}


def psr(ratio, rows, skew, kurtosis):
    return stats.norm.cdf(ratio * np.sqrt(rows - 1) / np.sqrt(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2))


def metrics():
    ratio, skew, kurtosis = sharpe(net) / np.sqrt(PERIODS), stats.skew(net), stats.kurtosis(net, fisher=False)
    error = np.sqrt(long_run(influence(net), lags(ROWS, ROWS)))
    wealth = np.concatenate([[1], np.cumprod(1 + net)])
    peak = np.maximum.accumulate(wealth)
    track = next(rows for rows in range(2, 10**6) if psr(ratio, rows, skew, kurtosis) >= 0.95)
    return {
        "sharpe": sharpe(net),
        "sharpe_error": error,
        "sharpe_low": sharpe(net) - 1.96 * error,
        "sharpe_high": sharpe(net) + 1.96 * error,
        "psr": psr(ratio, ROWS, skew, kurtosis),
        "minimum_track_record": track,
        "skew": skew,
        "kurtosis": kurtosis,
        "max_drawdown": (wealth / peak - 1).min(),
        "time_under_water": np.mean(wealth[1:] < peak[1:]),
        "tracking_error": (net - other).std(ddof=1) * np.sqrt(PERIODS),
        **line(net, other),
    }


def monitor():
    """Six windows of 90, 30 and 30 rows, step 24: test spans overlap."""
    spans = [(k * 24, k * 24 + 90, k * 24 + 120, k * 24 + 150) for k in range(6)]

    def excess(one, two):
        return sharpe(net[one:two]) - sharpe(other[one:two])

    def error(*signed):
        by_day = np.zeros(ROWS)
        for window in spans:
            for sign, first in signed:
                rows = slice(window[first], window[first + 1])
                by_day[rows] += sign * (influence(net[rows]) - influence(other[rows])) / len(spans)
        used = np.flatnonzero(by_day)
        by_day = by_day[used[0] : used[-1] + 1]
        return np.sqrt(long_run(by_day, lags(len(by_day), 30)))

    train, validation, test = (np.array([excess(w[i], w[i + 1]) for w in spans]) for i in range(3))
    rho, effective = stats.spearmanr(validation, test)[0], len(spans) * 24 / 28
    half = 1.96 * np.sqrt(1.06 / (effective - 3))
    return {
        "spans": spans,
        "gap": (train - test).mean(),
        "gap_error": error((1, 0), (-1, 2)),
        "validation_gap": (validation - test).mean(),
        "validation_gap_error": error((1, 1), (-1, 2)),
        "train_excess": train.mean(),
        "generalisation": rho,
        "low": np.tanh(np.arctanh(rho) - half),
        "high": np.tanh(np.arctanh(rho) + half),
    }


p_values = [0.04, 0.01, 0.03, 0.5]
order = np.argsort(p_values)
adjusted = np.empty(4)
adjusted[order] = np.maximum.accumulate([min(1.0, (4 - rank) * p_values[index]) for rank, index in enumerate(order)])
out = {
    "net": net.tolist(),
    "benchmark": other.tolist(),
    "metrics": metrics(),
    "compare": compare(net - 0.0006, other),
    "monitor": monitor(),
    "holm": {"p": p_values, "adjusted": adjusted.tolist()},
}
with open("tests/golden/figures.json", "w") as file:
    json.dump(out, file, default=float)
    file.write("\n")
