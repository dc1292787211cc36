"""The walk-forward study of examples/experiments/lstm.toml as one would write it in PyTorch: 36 months train, 12 validation, 12 test,
yearly windows; an LSTM (2 layers, hidden 128, dropout 0.3) over the last 60 rows of scored returns and a mask channel, trained
on the Sharpe ratio of batches of 128 dates; each epoch scored on the validation path, the best one's weights kept.

Usage: python3 benches/peers/lstm_study.py PRICES.csv [EPOCHS] [PART PARTS]    prints a JSON line

With PART and PARTS it does every PARTS-th window, so that several processes share the study.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from torch import nn

LOOKBACK, HIDDEN, BATCH, COST = 60, 128, 128, 10e-4


class Net(nn.Module):
    def __init__(self, assets):
        super().__init__()
        self.lstm = nn.LSTM(2 * assets, HIDDEN, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(HIDDEN, assets)

    def forward(self, x):
        return torch.softmax(self.head(self.lstm(x)[0][:, -1]), -1)


def inputs(scored, known, rows):
    """[len(rows), LOOKBACK, 2 * assets]"""
    at = np.asarray(rows)[:, None] + np.arange(1 - LOOKBACK, 1)
    return torch.from_numpy(np.concatenate([scored[at], known[at]], -1))


def path_sharpe(weights, decisions, returns, first, last):
    """Net daily path of monthly decisions over rows first..last, with drift and costs."""
    held, net, due = np.zeros(returns.shape[1]), [], dict(zip(decisions, weights))
    for row in range(first, last):
        cost = 0.0
        if row - 1 in due:
            cost = COST * np.abs(due[row - 1] - held).sum()
            held = due[row - 1]
        gross = float(held @ returns[row])
        held = held * (1 + returns[row]) / (1 + gross)
        net.append(gross - cost)
    net = np.array(net)
    return net.mean() / net.std(ddof=1) * np.sqrt(252) if net.std() > 0 else float("nan")


def main():
    prices, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    part, parts = (int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 4 else (0, 1)
    torch.manual_seed(7)
    frame = pd.read_csv(prices, index_col=0, parse_dates=True)
    returns = frame.pct_change().to_numpy()
    known = np.isfinite(returns).astype(np.float32)
    returns = np.nan_to_num(returns)
    dates = frame.index
    month_end = np.append(dates.month[1:] != dates.month[:-1], False)
    started, seconds, windows, scores = time.perf_counter(), [], 0, []
    start = dates[0].to_period("M").to_timestamp()
    for place in range(1000):
        bounds = [start + pd.DateOffset(months=12 * place + months) for months in (0, 36, 48, 60)]
        if bounds[3] - pd.DateOffset(months=1) > dates[-1]:
            break
        if place % parts != part:
            continue
        begin = time.perf_counter()
        train, validation, test, end = dates.searchsorted(bounds)
        mean, deviation = returns[train:validation].mean(), returns[train:validation].std()
        scored = np.where(known > 0, (returns - mean) / deviation, 0).astype(np.float32)
        rows = np.arange(train + LOOKBACK - 1, validation - 1)
        labels = torch.from_numpy(returns[rows + 1].astype(np.float32))
        due = lambda first, last: [row for row in range(first - 1, last - 1) if row == first - 1 or month_end[row]]
        net = Net(returns.shape[1])
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=10)
        best, kept = -np.inf, None
        for _ in range(epochs):
            net.train()
            for batch in torch.randperm(len(rows))[: len(rows) // BATCH * BATCH].split(BATCH):
                optimizer.zero_grad()
                earned = (net(inputs(scored, known, rows[batch.numpy()])) * labels[batch]).sum(-1)
                (-earned.mean() / (earned.std() + 1e-6)).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
            net.eval()
            with torch.no_grad():
                decisions = due(validation, test)
                weights = net(inputs(scored, known, decisions)).numpy()
            score = path_sharpe(weights, decisions, returns, validation, test)
            schedule.step(score)
            if score > best:
                best, kept = score, {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net.load_state_dict(kept)
        with torch.no_grad():
            decisions = due(test, end)
            weights = net(inputs(scored, known, decisions)).numpy()
        scores.append(path_sharpe(weights, decisions, returns, test, end))
        seconds.append(time.perf_counter() - begin)
        windows += 1
    print(json.dumps({
        "windows": windows,
        "seconds": time.perf_counter() - started,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "mean_test_sharpe": float(np.mean(scores)),
    }))


main()
