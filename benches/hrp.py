"""Times HRP against its peers, all on one thread, and writes a dated table to benches/results.

Run from the project's root: `cargo bench --bench hrp --no-run`, then `python3 benches/hrp.py PROGRAM`, where PROGRAM is
the path that cargo printed and Python has skfolio, PyPortfolioOpt, Riskfolio-Lib, pandas and SciPy installed.

Everybody gets the same made-up returns of 756 days: a market, twenty sectors, noise. Peers and ours take turns, and the
table shows medians over all turns. The largest difference of weights is shown beside, so that nobody is fast and wrong.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

for name in ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import riskfolio as rp  # noqa: E402
from pypfopt import HRPOpt  # noqa: E402
from skfolio.cluster import HierarchicalClustering, LinkageMethod  # noqa: E402
from skfolio.optimization import HierarchicalRiskParity  # noqa: E402
from skfolio.seriation import HierarchicalSeriation  # noqa: E402

ROWS = 756
# Assets, turns, decisions of ours in a turn.
SIZES = [(20, 9, 51), (100, 9, 21), (500, 5, 5), (1000, 3, 5)]
# Riskfolio-Lib takes minutes beyond.
MOST_FOR_RISKFOLIO = 500


def made_up(assets):
    rng = np.random.default_rng(assets)
    market, sectors = rng.standard_normal((ROWS, 1)), rng.standard_normal((ROWS, 20))
    noise = rng.standard_normal((ROWS, assets))
    return 0.01 * (market + sectors[:, np.arange(assets) % 20] + 1.5 * noise)


def pyportfolioopt(returns):
    weights = HRPOpt(returns).optimize()
    return np.array([weights[name] for name in returns.columns])


def skfolio_ward(returns):
    return HierarchicalRiskParity().fit(returns).weights_


def skfolio_single(returns):
    clustering = HierarchicalClustering(linkage_method=LinkageMethod.SINGLE)
    seriation = HierarchicalSeriation(hierarchical_clustering_estimator=clustering, optimal_ordering=False)
    return HierarchicalRiskParity(seriation_estimator=seriation).fit(returns).weights_


def riskfolio(returns):
    portfolio = rp.HCPortfolio(returns=returns)
    weights = portfolio.optimization(model="HRP", codependence="pearson", rm="MV", linkage="single", leaf_order=True)
    return weights["weights"].to_numpy()


# Ours and the peer of the same variant. Nobody else clusters distances of columns; that variant has more to do than those
# it stands against.
CASES = [
    ("pyportfolioopt", "PyPortfolioOpt", pyportfolioopt),
    ("pyportfolioopt", "skfolio, single, no leaf ordering", skfolio_single),
    ("skfolio", "skfolio, defaults", skfolio_ward),
    ("riskfolio", "Riskfolio-Lib", riskfolio),
]


def ours(program, variant, path, assets, repeats):
    with tempfile.NamedTemporaryFile() as out:
        command = [program, variant, path, str(assets), str(repeats), out.name]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(line)["median"], np.fromfile(out.name)


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.machine()


def command(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def say(seconds):
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main():
    program, lines = sys.argv[1], []
    for assets, turns, repeats in SIZES:
        data = made_up(assets)
        names = [f"A{asset:05}" for asset in range(assets)]
        frame = pd.DataFrame(data, columns=names, index=pd.date_range("2000-01-01", periods=ROWS))
        cases = [case for case in CASES if case[0] != "riskfolio" or assets <= MOST_FOR_RISKFOLIO]
        variants = ["lopez_de_prado", *dict.fromkeys(case[0] for case in cases)]
        seconds, weights = {}, {}
        with tempfile.NamedTemporaryFile() as file:
            data.tofile(file.name)
            for turn in range(turns):
                for variant in variants:
                    took, weights[variant] = ours(program, variant, file.name, assets, repeats)
                    seconds.setdefault(variant, []).append(took)
                for _, peer, fit in cases:
                    if turn == 0 and assets <= 100:
                        fit(frame)
                    clock = time.perf_counter()
                    weights[peer] = fit(frame)
                    seconds.setdefault(peer, []).append(time.perf_counter() - clock)
        median = {name: statistics.median(values) for name, values in seconds.items()}
        for variant, peer, _ in cases:
            difference = np.abs(weights[variant] - weights[peer]).max()
            ratio = median[peer] / median[variant]
            row = f"| {assets} | `{variant}` | {say(median[variant])} | {peer} | {say(median[peer])} | {ratio:.0f} | {difference:.0e} |"
            print(row, flush=True)
            lines.append(row)
        fastest = min(["PyPortfolioOpt", "skfolio, single, no leaf ordering"], key=median.get)
        ratio = median[fastest] / median["lopez_de_prado"]
        mine = say(median["lopez_de_prado"])
        row = f"| {assets} | `lopez_de_prado` | {mine} | {fastest} (other variant) | {say(median[fastest])} | {ratio:.0f} | |"
        print(row, flush=True)
        lines.append(row)
    today = datetime.date.today().isoformat()
    head = [
        f"# HRP against its peers, {today}",
        "",
        f"Commit {command('git', 'rev-parse', '--short', 'HEAD')}, {processor()}, {os.cpu_count()} cores, one thread each. "
        "One decision from 756 returns; medians of turns taken one after the other. Made by `benches/hrp.py`.",
        "",
        "| assets | variant | ours | peer | peer's | times faster | largest difference of weights |",
        "|---|---|---|---|---|---|---|",
    ]
    versions = ", ".join(
        line.split()[0] + " " + line.split()[1]
        for line in command(sys.executable, "-m", "pip", "list").splitlines()
        if line.lower().split()[0] in {"pyportfolioopt", "skfolio", "riskfolio-lib", "scipy", "numpy", "pandas"}
    )
    with open(f"benches/results/{today}-hrp.md", "w") as file:
        file.write("\n".join([*head, *lines, "", f"Peers: {versions}, Python {platform.python_version()}.", ""]))


main()
