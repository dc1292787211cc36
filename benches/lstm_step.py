"""Times one optimiser step of an LSTM beside PyTorch's, one thread each, and prints a table with ratios.

Run from the project's root: `cargo bench --bench lstm_step --no-run`, then `python3 benches/lstm_step.py PROGRAM`, where
PROGRAM is the path that cargo printed and Python has torch installed. Both take turns; times are the processor's, which
others at work on the same machine disturb less: medians of all turns' medians, and the least of all. The share of the
peak counts the layers' products alone, in the least time, against the most that one core did in the same turns.
"""

import json
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

TURNS, STEPS, REPEATS = 7, 60, 5


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
        started = time.process_time()
        optimizer.zero_grad()
        returns = (net(x) * labels).sum(-1)
        (-returns.mean() / (returns.std() + 1e-6)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds), min(seconds)


torch.set_num_threads(1)
ours, peers, work, most = {}, {}, {}, 0.0
for _ in range(TURNS):
    lines = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
    for found in map(json.loads, lines):
        case = (found["assets"], found["hidden"], found["batch"])
        ours.setdefault(case, []).append((found["median"], found["least"]))
        work[case] = found["speed"] * found["median"]
        most = max(most, found["peak"])
        peers.setdefault(case, []).append(theirs(*case))
names = "assets, hidden, batch | ours, median (least) | PyTorch " + torch.__version__
print(f"| {names} | times faster, medians | least | GFLOP/s | of the peak |\n|---|---|---|---|---|---|---|")
for case, found in ours.items():
    medians, leasts = zip(*found)
    theirs_medians, theirs_leasts = zip(*peers[case])
    one, two = statistics.median(medians), statistics.median(theirs_medians)
    low, other = min(leasts), min(theirs_leasts)
    times = f"{one * 1e3:.1f} ({low * 1e3:.1f}) ms | {two * 1e3:.1f} ({other * 1e3:.1f}) ms"
    speed = work[case] / low
    print(f"| {case} | {times} | {two / one:.2f} | {other / low:.2f} | {speed:.0f} | {speed / most:.0%} |")
print(f"\nPeak: {most:.0f} GFLOP/s.")
