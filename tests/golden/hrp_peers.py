"""Makes hrp_peers.csv: HRP by PyPortfolioOpt, skfolio and Riskfolio-Lib, its parts by SciPy, pandas and scikit-learn.

Run from the project's root, with the packages of the file's first line installed: python3 tests/golden/hrp_peers.py

A row is case,key,place,value. Weights: the key is the date of the decision, the place an asset. Matrices: the key is the
date, the place two assets. Trees: the key is "leaf", "first", "second" or "height", the place a position.
"""

import csv
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import riskfolio as rp
from pypfopt import HRPOpt
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist, squareform
from skfolio import RiskMeasure
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.moments import LedoitWolf
from skfolio.optimization import HierarchicalRiskParity
from skfolio.prior import EmpiricalPrior
from skfolio.seriation import HierarchicalSeriation
from sklearn.covariance import ledoit_wolf

warnings.filterwarnings("ignore")
LOOKBACK = 756
DATES = 3


def noise(seed):
    """The generator that tests/hrp_peers.rs repeats: 31 bits a step."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def tied(n, kinds, seed):
    """Symmetric distances of n points, whole numbers from 1 to kinds."""
    source, out = noise(seed), np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            out[i, j] = out[j, i] = next(source) % kinds + 1
    return out


def spread(n, seed):
    """Distances of n points in a plane, no two alike."""
    source = noise(seed)
    points = np.array([[next(source) / 2**31 for _ in range(2)] for _ in range(n)])
    difference = points[:, None] - points[None]
    return np.sqrt(difference[..., 0] ** 2 + difference[..., 1] ** 2)


def holed(returns):
    """Returns with holes: about one in eight is missing."""
    source, out = noise(99), returns.copy()
    for row in range(len(out)):
        for column in range(out.shape[1]):
            if next(source) % 8 == 0:
                out.iloc[row, column] = np.nan
    return out


def by_definition(returns, corr, cov, method="single", turned=False, of_columns=True):
    """HRP from a correlation and a covariance, by SciPy."""
    d = np.sqrt(np.clip((1 - corr) / 2, 0, 1))
    np.fill_diagonal(d, 0)
    condensed = pdist(d) if of_columns else squareform(d, checks=False)
    order = leaves_list(linkage(condensed, method, optimal_ordering=turned))
    weights = np.ones(len(cov))
    items = [order]
    while items:
        cluster = items.pop()
        if len(cluster) < 2:
            continue
        halves = cluster[: len(cluster) // 2], cluster[len(cluster) // 2 :]
        risks = []
        for half in halves:
            block = cov[np.ix_(half, half)]
            inverse = 1 / np.diag(block)
            inverse /= inverse.sum()
            risks.append(inverse @ block @ inverse)
        share = 1 - risks[0] / (risks[0] + risks[1])
        weights[halves[0]] *= share
        weights[halves[1]] *= 1 - share
        items += halves
    return pd.Series(weights, index=returns.columns)


def cut(matrix):
    """The matrix with negative eigenvalues set to 0 and its diagonal restored, if it has any."""
    scale = np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    if values[0] > 0:
        return matrix
    out = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
    unit = np.sqrt(np.diag(out))
    return out / np.outer(unit, unit) * np.outer(scale, scale)


def skfolio_weights(returns, method, **options):
    clustering = HierarchicalClustering(linkage_method=method)
    model = HierarchicalRiskParity(
        seriation_estimator=HierarchicalSeriation(hierarchical_clustering_estimator=clustering), **options
    )
    return pd.Series(model.fit(returns).weights_, index=returns.columns)


def riskfolio_weights(returns, rm, turned):
    weights = rp.HCPortfolio(returns=returns, alpha=0.05).optimization(
        model="HRP", codependence="pearson", method_cov="hist", rm=rm, linkage="single", leaf_order=turned
    )
    return weights["weights"]


SKFOLIO_RISKS = {
    "std": RiskMeasure.STANDARD_DEVIATION,
    "mad": RiskMeasure.MEAN_ABSOLUTE_DEVIATION,
    "semi_std": RiskMeasure.SEMI_DEVIATION,
    "cvar": RiskMeasure.CVAR,
}
RISKFOLIO_RISKS = {"variance": "MV", "std": "vol", "mad": "MAD", "semi_std": "MSV", "cvar": "CVaR"}


def portfolios(returns):
    """Pairs of a case and the weights it gives."""
    yield "pyportfolioopt", pd.Series(HRPOpt(returns).optimize())
    yield "skfolio", pd.Series(HierarchicalRiskParity().fit(returns).weights_, index=returns.columns)
    yield "skfolio single", skfolio_weights(returns, LinkageMethod.SINGLE)
    yield (
        "skfolio ledoit_wolf",
        skfolio_weights(
            returns, LinkageMethod.WARD, prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf())
        ),
    )
    for name, risk in SKFOLIO_RISKS.items():
        yield f"skfolio {name}", skfolio_weights(returns, LinkageMethod.WARD, risk_measure=risk)
    for name, rm in RISKFOLIO_RISKS.items():
        yield f"riskfolio {name}", riskfolio_weights(returns, rm, True)
        yield f"riskfolio {name} unturned", riskfolio_weights(returns, rm, False)
    cov = returns.cov().to_numpy()
    for method in ["spearman", "kendall"]:
        yield f"scipy {method}", by_definition(returns, returns.corr(method).to_numpy(), cov)
    corr = returns.corr().to_numpy()
    for method in ["complete", "average", "ward"]:
        yield f"scipy {method}", by_definition(returns, corr, cov, method, True)
    yield "scipy ledoit_wolf", by_definition(returns, corr, ledoit_wolf(returns.to_numpy())[0])
    gaps = holed(returns)
    # Thirty rows with holes leave so few in common that the matrices have to be repaired.
    for name, part in [("pairwise", gaps), ("pairwise short", gaps.iloc[-30:])]:
        corr, cov = part.corr().to_numpy(), part.cov().to_numpy()
        assert name == "pairwise" or min(np.linalg.eigvalsh(corr)[0], np.linalg.eigvalsh(cov)[0]) < 0
        yield f"scipy {name}", by_definition(part, cut(corr), cut(cov))


def matrices(returns):
    """Pairs of a case and a matrix."""
    short = returns.iloc[:, :8]
    gaps = holed(returns).iloc[:, :8]
    yield "ledoit_wolf", ledoit_wolf(short.to_numpy())[0]
    for method in ["pearson", "spearman", "kendall"]:
        yield method, short.corr(method).to_numpy()
        yield f"pairwise {method}", gaps.corr(method).to_numpy()
        # Rounded to percents, so that there are ties.
        yield f"pairwise tied {method}", gaps.round(2).corr(method).to_numpy()
    yield "pairwise covariance", gaps.cov().to_numpy()


def trees():
    """Pairs of a case and what SciPy makes of it."""
    sources = {
        "tied 12": tied(12, 3, 1),
        "tied 40": tied(40, 9, 2),
        "spread 25": spread(25, 3),
        "spread 60": spread(60, 4),
    }
    for name, square in sources.items():
        condensed = squareform(square)
        for method in ["single", "complete", "average", "ward"]:
            found = linkage(condensed, method)
            yield f"{name} {method}", found, leaves_list(found)
            turned = optimal_leaf_ordering(found, condensed)
            yield f"{name} {method} turned", turned, leaves_list(turned)
    # Long enough for sums in single precision to decide between orders; the leaves say it all.
    condensed = squareform(spread(300, 5))
    for method in ["single", "ward"]:
        yield f"spread 300 {method} turned", [], leaves_list(linkage(condensed, method, optimal_ordering=True))


def main():
    prices = pd.read_csv("examples/data/sp500_20_prices.csv", index_col=0)
    prices = prices[sorted(prices.columns)]
    changes = prices.to_numpy()
    changes = pd.DataFrame(changes[1:] / changes[:-1] - 1, index=prices.index[1:], columns=prices.columns)
    packages = ["PyPortfolioOpt", "skfolio", "Riskfolio-Lib", "scipy", "pandas", "scikit-learn", "numpy"]
    with open("tests/golden/hrp_peers.csv", "w", newline="") as file:
        file.write("# " + ", ".join(f"{name} {version(name)}" for name in packages) + "\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["case", "key", "place", "value"])
        for row in np.linspace(LOOKBACK, len(changes), DATES).astype(int):
            returns = changes.iloc[row - LOOKBACK : row]
            date = returns.index[-1]
            for case, weights in portfolios(returns):
                for asset in returns.columns:
                    out.writerow([case, date, asset, repr(float(weights[asset]))])
            if row != LOOKBACK:
                continue
            for case, matrix in matrices(returns):
                for i in range(len(matrix)):
                    for j in range(i + 1):
                        out.writerow([case, date, f"{i} {j}", repr(float(matrix[i, j]))])
        for case, found, leaves in trees():
            for place, leaf in enumerate(leaves):
                out.writerow([case, "leaf", place, leaf])
            for place, (first, second, height, _) in enumerate(found):
                out.writerow([case, "first", place, int(first)])
                out.writerow([case, "second", place, int(second)])
                if not case.endswith("turned"):
                    out.writerow([case, "height", place, repr(float(height))])


main()
