"""Times the monthly walk-forward of HRP on the example prices beside skfolio's, one thread each, and writes a dated table.

Run from the project's root: `cargo bench --bench walk_forward --no-run`, then `python3 benches/walk_forward.py PROGRAM`,
where PROGRAM is the path that cargo printed and Python has skfolio installed.

Both walk 36 months of training and 1 month of test by a month, from the same prices in memory to a measured
out-of-sample Sharpe ratio. Ours also charges costs, keeps drifting books, holds constraints and walks equal weight
beside; skfolio's portfolio is rebalanced every day at no cost.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings

for name in ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "1"
warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
import skfolio  # noqa: E402
from skfolio.model_selection import WalkForward, cross_val_predict  # noqa: E402
from skfolio.optimization import HierarchicalRiskParity  # noqa: E402
from skfolio.preprocessing import prices_to_returns  # noqa: E402

TURNS = 3


def theirs(returns):
    started = time.perf_counter()
    split = WalkForward(test_size=1, train_size=36, freq="MS")
    portfolio = cross_val_predict(HierarchicalRiskParity(), returns, cv=split)
    sharpe = portfolio.annualized_sharpe_ratio
    return time.perf_counter() - started, split.get_n_splits(returns), sharpe


def main():
    program = sys.argv[1]
    prices = pd.read_csv("examples/data/sp500_20_prices.csv", index_col=0, parse_dates=True)
    returns = prices_to_returns(prices)
    ours, peers = [], []
    for _ in range(TURNS):
        found = json.loads(subprocess.run([program], capture_output=True, text=True, check=True).stdout)
        ours.append(found["walked_and_measured"] / found["windows"])
        seconds, windows, sharpe = theirs(returns)
        peers.append(seconds / windows)
    one, two = statistics.median(ours), statistics.median(peers)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open("/proc/cpuinfo") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    today = datetime.date.today()
    text = f"""# Walk-forward of HRP against skfolio, {today}

Commit {commit}, {model}, {os.cpu_count()} cores, one thread each. Made by `benches/walk_forward.py`: 20 stocks, 36 months
train, 1 month test, a step of a month, from prices in memory to a measured Sharpe ratio; medians of {TURNS} turns, taken
one after the other.

| | windows | a window | out-of-sample Sharpe ratio |
|---|---|---|---|
| walkforge, `variant = "skfolio"`, drifting books, costs, equal weight beside | {found["windows"]} | {one * 1e3:.3f} ms | {found["sharpe"]:.3f} |
| skfolio {skfolio.__version__}, `WalkForward` and `cross_val_predict`, rebalanced daily at no cost | {windows} | {two * 1e3:.2f} ms | {sharpe:.3f} |

{two / one:.0f} times faster. Python {platform.python_version()}.
"""
    path = f"benches/results/{today}-walk-forward.md"
    with open(path, "w") as file:
        file.write(text)
    print(text, path, sep="\n")


main()
