"""Times one optimiser step of an LSTM beside PyTorch's, one thread each, and prints a table with ratios.

Run from the project's root: `cargo bench --bench lstm_step --no-run`, then `python3 benches/lstm_step.py PROGRAM`, where
PROGRAM is the path that cargo printed and Python has torch installed. Both take turns; times are the processor's, which
others at work on the same machine disturb less: medians of all turns' medians, and the least of all; at every instruction level of the machine, to which
PyTorch keeps too. The share of the
peak counts the layers' products alone, in the least time, against the most that one core did in the same turns.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

TURNS, STEPS, REPEATS = 5, 60, 5


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
if sys.argv[1] == "--peer":
    for case in json.loads(sys.argv[2]):
        print(json.dumps([case, theirs(*case)]))
    sys.exit()

# What makes PyTorch's libraries keep to a level.
KEEP_TO = {
    "x86-64-v3": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
ours, peers, work, most = {}, {}, {}, {}
for _ in range(TURNS):
    lines = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
    cases = {}
    for found in map(json.loads, lines):
        level, case = found["level"], (found["assets"], found["hidden"], found["batch"])
        cases.setdefault(level, []).append(case)
        ours.setdefault((level, case), []).append((found["median"], found["least"]))
        work[case] = found["speed"] * found["median"]
        most[level] = max(most.get(level, 0.0), found["peak"])
    for level, of_level in cases.items():
        command = [sys.executable, __file__, "--peer", json.dumps(of_level)]
        output = subprocess.run(
            command, env={**os.environ, **KEEP_TO.get(level, {})}, capture_output=True, text=True, check=True
        ).stdout
        for case, times in map(json.loads, output.splitlines()):
            peers.setdefault((level, tuple(case)), []).append(times)
names = "level | assets, hidden, batch | ours, median (least) | PyTorch " + torch.__version__
print(f"| {names} | times faster, medians | least | GFLOP/s | of the peak |\n|---|---|---|---|---|---|---|---|")
for (level, case), found in ours.items():
    medians, leasts = zip(*found)
    their_medians, their_leasts = zip(*peers[level, case])
    median, least = statistics.median(medians), min(leasts)
    their_median, their_least = statistics.median(their_medians), min(their_leasts)
    speed = work[case] / least
    print(
        f"| {level} | {case[0]}, {case[1]}, {case[2]} | {1e3 * median:.1f} ms ({1e3 * least:.1f}) | "
        f"{1e3 * their_median:.1f} ms ({1e3 * their_least:.1f}) | {their_median / median:.2f} | "
        f"{their_least / least:.2f} | {speed:.0f} | {100 * speed / most[level]:.0f} % |"
    )
for level, peak in most.items():
    print(f"\nPeak of a core at {level}: {peak:.0f} GFLOP/s.")
