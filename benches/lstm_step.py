"""Times one optimiser step of an LSTM beside PyTorch's, one thread each, and prints a table with ratios.

Run from the project's root: `cargo bench --bench lstm_step --no-run`, then `python3 benches/lstm_step.py PROGRAM`, where
PROGRAM is the path that cargo printed and Python has torch installed. Both take turns; times are medians of all turns.
"""

import json
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

TURNS, STEPS, REPEATS = 3, 60, 9


class Net(nn.Module):
    def __init__(self, assets, hidden):
        super().__init__()
        self.lstm = nn.LSTM(assets, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, assets)

    def forward(self, x):
        return torch.softmax(self.head(self.lstm(x)[0][:, -1]), -1)


def theirs(assets, hidden, batch):
    net = Net(assets, hidden)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    x, labels = torch.rand(batch, STEPS, assets) - 0.5, torch.rand(batch, assets) - 0.5
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        optimizer.zero_grad()
        returns = (net(x) * labels).sum(-1)
        (-returns.mean() / (returns.std() + 1e-6)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


torch.set_num_threads(1)
ours, peers = {}, {}
for _ in range(TURNS):
    lines = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
    for found in map(json.loads, lines):
        case = (found["assets"], found["hidden"], found["batch"])
        ours.setdefault(case, []).append(found["median"])
        peers.setdefault(case, []).append(theirs(*case))
print(f"| assets, hidden, batch | ours | PyTorch {torch.__version__} | times faster |\n|---|---|---|---|")
for case, found in ours.items():
    one, two = statistics.median(found), statistics.median(peers[case])
    print(f"| {case} | {one * 1e3:.1f} ms | {two * 1e3:.1f} ms | {two / one:.2f} |")
