"""Trains what walkforge trains, in PyTorch: the protocol written down a second time, from the same random numbers.

    python3 tests/parity.py WALKFORGE        (WALKFORGE is the command; Python has torch and numpy)

For each of many odd shapes the command trains the first window of made-up prices, and this script draws initial weights,
dropout and the order of samples as the library does (Philox), and takes every step with PyTorch's LSTM and Adam. The mean
loss of every epoch must agree to 1e-5. Prints a line per shape; exit code 1 if one is off.
"""

import datetime
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

SEED, TRAIN_MONTHS, ROWS = 7, 12, 420
MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
PARAMETERS, ORDER = 1 << 30, 0xFFFFFFFF  # random streams
LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def bits(seed, stream, step, positions):
    """32 random bits at each position: Philox4x32-10 (Salmon and others 2011)."""
    positions = np.asarray(positions, np.uint64)
    block = positions // np.uint64(4)
    one, two = block & LOW, block >> SHIFT
    three, four = np.full_like(block, step), np.full_like(block, stream)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for turn in range(10):
        if turn:
            key = [(part + weyl) & 0xFFFFFFFF for part, weyl in zip(key, WEYL)]
        first, second = np.uint64(MULTIPLIERS[0]) * one, np.uint64(MULTIPLIERS[1]) * three
        one, two, three, four = (
            (second >> SHIFT) ^ two ^ np.uint64(key[0]), second & LOW, (first >> SHIFT) ^ four ^ np.uint64(key[1]), first & LOW,
        )
    return np.stack([one, two, three, four], 1)[np.arange(len(positions)), (positions % np.uint64(4)).astype(int)]


def uniform(seed, stream, step, count):
    return (bits(seed, stream, step, np.arange(count)) >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)


def permutation(seed, step, count):
    high, low = (bits(seed, ORDER, step, 2 * np.arange(count) + half) for half in (0, 1))
    draws = ((high << np.uint64(21)) ^ (low >> np.uint64(11))).astype(np.float64) * 2.0**-53
    out = list(range(count))
    for index in range(count - 1, 0, -1):
        other = min(int(draws[index] * (index + 1)), index)
        out[index], out[other] = out[other], out[index]
    return out


def job_seed(name, test_start):
    text = b"walkforge job\0" + SEED.to_bytes(8, "little") + test_start.encode() + b"\0" + name.encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


class Network:
    """The plugin lstm. Node numbers are those of its program, which key the dropout."""

    def __init__(self, seed, assets, hidden=16, layers=2, lookback=20, dropout=0.3, arrangement="joint", attention=False,
                 attention_heads=8, output="last"):
        self.seed, self.assets, self.hidden, self.lookback, self.dropout = seed, assets, hidden, lookback, dropout
        self.per_asset, self.sequence = arrangement == "per_asset", output == "sequence"
        self.heads = attention_heads if attention else 0
        self.parameters = []
        inputs, bound = (2 if self.per_asset else 2 * assets), 1 / math.sqrt(hidden)
        self.layers = []
        for layer in range(layers):
            width = hidden if layer else inputs
            shapes = [(4 * hidden, width), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)]
            self.layers.append([self.parameter(shape, bound) for shape in shapes])
        square = [(hidden, hidden), (hidden,)]
        self.attention = [[self.parameter(s, bound) for s in square] for _ in range(4 if self.heads else 0)]
        outputs = 1 if self.per_asset else assets
        self.head = [self.parameter((outputs, hidden), bound), self.parameter((outputs,), bound)]
        first = 5 if self.per_asset else 1
        self.drops = [first + 1 + 2 * layer for layer in range(layers - 1)]

    def parameter(self, shape, bound):
        draws = uniform(self.seed, PARAMETERS + len(self.parameters), 0, math.prod(shape))
        values = (draws * np.float32(2) - np.float32(1)) * np.float32(bound)
        self.parameters.append(torch.tensor(values.reshape(shape), requires_grad=True))
        return self.parameters[-1]

    def __call__(self, scores, known, rows, step):
        """Weights of a batch of as-of rows, `[batch, assets]` or `[batch, dates, assets]`."""
        windows = np.stack([np.arange(row - self.lookback + 1, row + 1) for row in rows])
        planes = [torch.tensor(plane[windows]) for plane in (scores, known)]
        batch, assets, steps = len(rows), self.assets, self.lookback
        if self.per_asset:
            x = torch.stack([plane.transpose(1, 2) for plane in planes], -1).reshape(batch * assets, steps, 2)
        else:
            x = torch.cat(planes, -1)
        for layer, weights in enumerate(self.layers):
            if layer and self.dropout:
                draws = uniform(self.seed, self.drops[layer - 1], step, x.numel()).reshape(x.shape)
                kept = np.float32(1) / (np.float32(1) - np.float32(self.dropout))
                x = x * torch.tensor(np.where(draws < np.float32(self.dropout), np.float32(0), kept))
            state = torch.zeros(1, x.shape[0], self.hidden)
            x = torch._VF.lstm(x, (state, state), weights, True, 1, 0.0, False, False, True)[0]
        if self.heads:
            width = self.hidden // self.heads
            split = lambda part: torch.nn.functional.linear(x, *self.attention[part]).unflatten(-1, (self.heads, width))
            query, key, value = (split(part).transpose(1, 2) for part in range(3))
            mix = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(width), -1) @ value
            x = torch.nn.functional.linear(mix.transpose(1, 2).flatten(2), *self.attention[3])
        y = torch.nn.functional.linear(x if self.sequence else x[:, -1], *self.head)
        if self.per_asset:
            y = y.reshape(batch, assets, *([steps] if self.sequence else []))
            y = y.transpose(1, 2) if self.sequence else y
        return torch.softmax(y, -1)


def prices(assets):
    draw = np.random.default_rng(assets)
    values = 100 * np.exp(np.cumsum(draw.normal(0.0003, 0.012, (ROWS, assets)), 0))
    day, dates = datetime.date(2015, 1, 1), []
    while len(dates) < ROWS:
        if day.weekday() < 5:
            dates.append(day.isoformat())
        day += datetime.timedelta(1)
    lines = [",".join(["date", *(f"A{index:03d}" for index in range(assets))])]
    lines += [",".join([date, *(repr(float(value)) for value in row)]) for date, row in zip(dates, values)]
    return dates, values, "\n".join(lines) + "\n"


def compare(walkforge, name, assets=5, epochs=4, model=None, train=None):
    model, train = dict(model or {}), dict(train or {})
    dates, values, text = prices(assets)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/prices.csv", "w") as file:
            file.write(text)
        lines = [f"seed = {SEED}", "[data]", 'prices = "prices.csv"', "[windows]", f"train_months = {TRAIN_MONTHS}"]
        lines += ["validation_months = 3", "test_months = 3", "step_months = 12", "[portfolio]", 'rebalance = "weekly"']
        settings = {"batch_size": 32, "accumulation_steps": 2, "max_epochs": epochs, "early_stop_epochs": 99, **train}
        lines += ["[train]"] + [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[[models]]", 'name = "lstm"', "[models.settings]"]
        own = {"hidden_size": 16, "lookback": 20, **model}
        lines += [f"{key} = {json.dumps(value)}" for key, value in own.items()]
        with open(f"{folder}/experiment.toml", "w") as file:
            file.write("\n".join(lines) + "\n")
        command = [walkforge, "run", f"{folder}/experiment.toml", "--out", f"{folder}/out"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        with open(f"{folder}/out/run.json") as file:
            run = json.load(file)
    window = run["windows"][0]
    training = window["models"]["lstm"]["training"]
    returns = np.full_like(values, np.nan)
    returns[1:] = values[1:] / values[:-1] - 1
    end = sum(date < window["validation"]["start"] for date in dates)
    seen = returns[:end][np.isfinite(returns[:end])]
    scores = np.where(np.isfinite(returns), (returns - seen.mean()) / seen.std(), 0).astype(np.float32)
    known = np.isfinite(returns).astype(np.float32)
    horizon = next(model["train"]["horizon"] for model in run["models"] if model["name"] == "lstm")
    growth = np.ones_like(returns)
    for ahead in range(1, horizon + 1):
        growth[:-ahead] *= 1 + returns[ahead:]
    labels = (growth - 1).astype(np.float32)
    rows = np.arange(own["lookback"] - 1, end - horizon)
    assert len(rows) == training["samples"], (name, len(rows), training["samples"])
    batch = min(settings["batch_size"] * settings["accumulation_steps"], len(rows))
    seed = job_seed("lstm", window["test"]["start"])
    network = Network(seed, assets, hidden=own.pop("hidden_size"), **own)
    optimizer = torch.optim.Adam(network.parameters, lr=settings.get("learning_rate", 1e-3), weight_decay=1e-5)
    step, losses = 0, []
    for epoch in range(1, training["epochs_run"] + 1):
        order, found = permutation(seed, epoch, len(rows)), []
        for first in range(0, len(rows) - batch + 1, batch):
            chosen = rows[sorted(order[first : first + batch])]
            weights = network(scores, known, chosen, step)
            if network.sequence:
                earned = np.stack([labels[row - own["lookback"] + 1 : row + 1] for row in chosen])
            else:
                earned = labels[chosen]
            # A return before the first row of the data counts as 0.
            earned = torch.tensor(np.nan_to_num(earned)).double()
            gained = (weights.double() * earned).sum(-1).flatten()
            loss = -gained.mean() / (gained.std() + 1e-6)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters, 1.0)
            optimizer.step()
            step += 1
            found.append(loss.item())
        losses.append(sum(found) / len(found))
    worst = max(abs(ours - theirs) for ours, theirs in zip(training["epochs"]["loss"], losses))
    micro = f"micro-batches of {training['micro_batch']} of {training['batch']}"
    print(f"{name:36} {len(losses)} epochs, last loss {losses[-1]:+.6f}, {micro:28} worst difference {worst:.1e}", flush=True)
    return worst


def main():
    torch.set_num_threads(1)
    asset, sequence, attention = {"arrangement": "per_asset"}, {"output": "sequence"}, {"attention": True}
    shapes = [
        ("as it comes", {}),
        ("hidden 1", {"model": {"hidden_size": 1}}),
        ("hidden 7", {"model": {"hidden_size": 7}}),
        ("hidden 17, one layer", {"model": {"hidden_size": 17, "layers": 1}}),
        ("hidden 129", {"model": {"hidden_size": 129}, "epochs": 2}),
        ("three layers", {"model": {"layers": 3}}),
        ("four layers, hidden 9", {"model": {"layers": 4, "hidden_size": 9}}),
        ("no dropout", {"model": {"dropout": 0.0}}),
        ("look-back 5", {"model": {"lookback": 5}}),
        ("look-back 150", {"model": {"lookback": 150}, "epochs": 3}),
        ("1 asset", {"assets": 1}),
        ("2 assets", {"assets": 2}),
        ("60 assets", {"assets": 60, "epochs": 3}),
        ("batch of 3", {"train": {"batch_size": 3, "accumulation_steps": 1}, "epochs": 2}),
        ("batch of 50", {"train": {"batch_size": 50, "accumulation_steps": 1}}),
        ("batch of 127", {"train": {"batch_size": 127, "accumulation_steps": 1}}),
        ("attention", {"model": attention}),
        ("attention, 2 heads, sequence", {"model": {**attention, **sequence, "attention_heads": 2}}),
        ("sequence", {"model": sequence}),
        ("per asset", {"model": asset, "epochs": 3}),
        ("per asset, sequence", {"model": {**asset, **sequence}, "epochs": 2}),
        ("per asset, attention", {"model": {**asset, **attention, "lookback": 12}, "epochs": 2}),
        ("horizon 5", {"train": {"horizon": 5}}),
        ("learning rate 0.02", {"train": {"learning_rate": 0.02}}),
        ("600 KiB of memory", {"train": {"memory_budget": "600KiB"}}),
        ("1 MiB of memory, per asset", {"model": asset, "train": {"memory_budget": "1MiB"}, "epochs": 3}),
    ]
    off = [name for name, arguments in shapes if not compare(os.path.abspath(sys.argv[1]), name, **arguments) <= 1e-5]
    print(f"{len(shapes)} shapes, off: {', '.join(off) or 'none'}")
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    main()
