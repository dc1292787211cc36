"""Loss scales of torch.amp.GradScaler on scripted overflows, for tests/precision.rs.

Usage: python3 tests/golden/scaler.py    (needs: pip install torch)
"""

import json
import random

import torch

cases = []
random.seed(7)
patterns = {
    "clean": [False] * 24,
    "always": [True] * 24,
    "every fifth": [step % 5 == 4 for step in range(60)],
    "bursts": ([True] * 3 + [False] * 9) * 5,
    "one in eight": [random.random() < 0.125 for _ in range(400)],
}
for name, overflows in patterns.items():
    for interval in [1, 3, 8]:
        scaler = torch.amp.GradScaler("cpu", growth_interval=interval)
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.Adam([weight], lr=0.01)
        scales, steps = [], []
        for overflow in overflows:
            weight.grad = torch.full((3,), float("inf") if overflow else 1.0) * scaler.scale(torch.tensor(1.0)).item()
            scaler.unscale_(optimizer)
            before = weight.detach().clone()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
            steps.append(bool((weight.detach() != before).any()))
        cases.append({"name": name, "interval": interval, "overflows": overflows, "scales": scales, "stepped": steps})
with open("tests/golden/scaler.json", "w") as out:
    json.dump({"torch": torch.__version__, "cases": cases}, out)
    out.write("\n")
