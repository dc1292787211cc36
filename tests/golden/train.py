"""Trains small networks with PyTorch (2.x, CPU, single precision) and writes what tests/train.rs compares with: the weights
that training began with, the batches, the gradients of the first step, every loss and gradient norm, and the weights
after 50 steps of Adam. Also the learning rates of ReduceLROnPlateau for a list of scores.

Usage: python3 tests/golden/train.py    (needs: pip install torch)
"""

import json

import torch
from torch import nn

BATCH, STEPS, ASSETS, HIDDEN, BATCHES, TRAINED = 16, 8, 4, 6, 3, 50


class Net(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.case = case
        inputs = 1 if case == "per_asset" else ASSETS
        self.lstm = nn.LSTM(inputs, HIDDEN, num_layers=2, batch_first=True)
        if case == "attention":
            self.attention = nn.MultiheadAttention(HIDDEN, 2, batch_first=True)
            nn.init.uniform_(self.attention.in_proj_bias, -0.3, 0.3)
            nn.init.uniform_(self.attention.out_proj.bias, -0.3, 0.3)
        self.head = nn.Linear(HIDDEN, 1 if case == "per_asset" else ASSETS)

    def forward(self, x, mask):
        if self.case == "per_asset":
            sequences = x.transpose(1, 2).reshape(-1, STEPS, 1)
            logits = self.head(self.lstm(sequences)[0][:, -1]).reshape(-1, ASSETS)
        else:
            states = self.lstm(x)[0]
            if self.case == "attention":
                states = self.attention(states, states, states, need_weights=False)[0]
            logits = self.head(states if self.case == "sequence" else states[:, -1])
        if self.case == "scores":
            return logits
        mask = mask[:, None, :] if self.case == "sequence" else mask
        return torch.softmax(logits.masked_fill(mask == 0, float("-inf")), dim=-1)

    def named(self):
        """Our names and the tensors of PyTorch, in our order."""
        out = []
        for layer in range(2):
            for name in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]:
                out.append((f"lstm.{layer}.{name}", lambda n=f"{name}_l{layer}": getattr(self.lstm, n)))
        if self.case == "attention":
            for place, name in enumerate(["query", "key", "value"]):
                rows = slice(place * HIDDEN, (place + 1) * HIDDEN)
                out.append((f"attention.{name}.weight", lambda r=rows: self.attention.in_proj_weight[r]))
                out.append((f"attention.{name}.bias", lambda r=rows: self.attention.in_proj_bias[r]))
            out.append(("attention.output.weight", lambda: self.attention.out_proj.weight))
            out.append(("attention.output.bias", lambda: self.attention.out_proj.bias))
        out += [("head.weight", lambda: self.head.weight), ("head.bias", lambda: self.head.bias)]
        return out

    def gradients(self):
        out = {}
        for name, tensor in self.named():
            if name.startswith("attention.") and "output" not in name:
                place = ["query", "key", "value"].index(name.split(".")[1])
                rows = slice(place * HIDDEN, (place + 1) * HIDDEN)
                source = self.attention.in_proj_weight if name.endswith("weight") else self.attention.in_proj_bias
                out[name] = source.grad[rows]
            else:
                out[name] = tensor().grad
        return out


def numbers(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def trained(case):
    torch.manual_seed(1)
    net = Net(case)
    # The turnover of weights is small at first; larger weights make every part count.
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    data = []
    for _ in range(BATCHES):
        x = torch.randn(BATCH, STEPS, ASSETS)
        mask = (torch.rand(BATCH, ASSETS) < 0.8).float()
        mask[:, 0] = 1
        shape = (BATCH, STEPS, ASSETS) if case == "sequence" else (BATCH, ASSETS)
        data.append((x, mask, 0.01 * torch.randn(shape) + 0.001))
    out = {"start": {name: numbers(tensor()) for name, tensor in net.named()}}
    out["batches"] = [{"x": numbers(x), "mask": numbers(mask), "labels": numbers(y)} for x, mask, y in data]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    losses, norms = [], []
    for step in range(TRAINED):
        x, mask, labels = data[step % BATCHES]
        optimizer.zero_grad()
        output = net(x, mask)
        if case == "scores":
            loss = ((output - labels) ** 2).mean()
        else:
            returns = (output * labels).sum(-1).flatten()
            loss = -returns.mean() / (returns.std() + 1e-6)
        loss.backward()
        if step == 0:
            out["output"] = numbers(output)
            out["gradients"] = {name: numbers(gradient) for name, gradient in net.gradients().items()}
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), 0.5)))
        optimizer.step()
        losses.append(loss.item())
    out.update({"losses": losses, "norms": norms, "end": {name: numbers(tensor()) for name, tensor in net.named()}})
    return out


def plateau():
    scores = [0.1, 0.5, 0.50004, 0.4, 0.3, 0.49, 0.2, -1.0, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=3)
    rates = []
    for score in scores:
        schedule.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"scores": scores, "rates": rates}


torch.set_num_threads(1)
document = {
    "torch": torch.__version__,
    "plateau": plateau(),
    "cases": {case: trained(case) for case in ["joint", "per_asset", "attention", "sequence", "scores"]},
}
with open("tests/golden/train.json", "w") as file:
    json.dump(document, file, separators=(",", ":"))
    file.write("\n")
