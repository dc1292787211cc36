"""Times one prediction of an LSTM, with weights in single and in half precision, beside ONNX Runtime's and PyTorch's in single
precision, one thread each, and prints a table with ratios.

Run from the project's root: `cargo bench --bench lstm_predict --no-run`, then `python3 benches/lstm_predict.py PROGRAM`, where
PROGRAM is the path that cargo printed and Python has torch, onnx and onnxruntime installed. All take turns; times are
medians of the turns' medians, and the least of all. The last column is the recurrent weights that are read in the least time.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

TURNS, STEPS, REPEATS = 5, 60, 1000


class Net(nn.Module):
    def __init__(self, assets, hidden):
        super().__init__()
        self.lstm = nn.LSTM(assets, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, assets)

    def forward(self, x):
        return torch.softmax(self.head(self.lstm(x)[0][:, -1]), -1)


def session(net, assets, hidden):
    """The same network with the same weights; ONNX wants the gates in the order i, o, f, c and steps before samples."""
    tensors, nodes = [], []

    def constant(name, value):
        tensors.append(numpy_helper.from_array(numpy.ascontiguousarray(value), name))
        return name

    def gates(weights):
        i, f, g, o = weights.detach().numpy().reshape(4, hidden, -1)
        return numpy.concatenate([i, o, f, g])

    x = "x"
    constant("axis", numpy.array([1], dtype=numpy.int64))
    constant("first", numpy.array([0], dtype=numpy.int64))
    for layer in range(2):
        of = lambda name: getattr(net.lstm, f"{name}_l{layer}")
        weights = constant(f"W{layer}", gates(of("weight_ih"))[None])
        recurrent = constant(f"R{layer}", gates(of("weight_hh"))[None])
        biases = numpy.concatenate([gates(of("bias_ih"))[:, 0], gates(of("bias_hh"))[:, 0]])
        biases = constant(f"B{layer}", biases[None])
        outputs = [f"Y{layer}", f"H{layer}"]
        nodes.append(helper.make_node("LSTM", [x, weights, recurrent, biases], outputs, hidden_size=hidden))
        nodes.append(helper.make_node("Squeeze", [f"Y{layer}", "axis"], [f"S{layer}"]))
        x = f"S{layer}"
    nodes.append(helper.make_node("Squeeze", ["H1", "first"], ["last"]))
    head = constant("head", net.head.weight.detach().numpy())
    bias = constant("bias", net.head.bias.detach().numpy())
    nodes.append(helper.make_node("Gemm", ["last", head, bias], ["logits"], transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["weights"], axis=-1))
    described = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "lstm", [described("x", [STEPS, 1, assets])], [described("weights", [1, assets])], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def median(call):
    for _ in range(50):
        call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), min(seconds)


torch.set_num_threads(1)
torch.manual_seed(0)
times, peers, stored = {}, {}, {}
for turn in range(TURNS):
    lines = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
    for found in map(json.loads, lines):
        shape = (found["assets"], found["hidden"])
        if shape not in peers:
            net = Net(*shape).eval()
            peers[shape] = net, session(net, *shape)
        mine = times.setdefault(shape, {})
        mine.setdefault(found["precision"], []).append((found["median"], found["least"]))
        stored[shape, found["precision"]] = found["bytes"]
    for shape, (net, other) in peers.items():
        x = torch.rand(1, STEPS, shape[0]) - 0.5
        steps_first = x.numpy().transpose(1, 0, 2).copy()
        with torch.inference_mode():
            apart = abs(net(x).numpy() - other.run(None, {"x": steps_first})[0]).max()
            assert apart < 1e-5, f"the peers' answers are {apart} apart"
            times[shape].setdefault("onnx", []).append(median(lambda: other.run(None, {"x": steps_first})))
            times[shape].setdefault("torch", []).append(median(lambda: net(x)))
names = f"ONNX Runtime {onnxruntime.__version__} | PyTorch {torch.__version__}"
print(f"| assets, hidden | weights | packed | ours, median (least) | {names} | times faster than ONNX Runtime | than PyTorch | GB/s |")
print("|---" * 9 + "|")
for shape, found in times.items():
    medians = {who: statistics.median(median for median, _ in one) for who, one in found.items()}
    leasts = {who: min(least for _, least in one) for who, one in found.items()}
    show = lambda who: f"{medians[who] * 1e6:.0f} ({leasts[who] * 1e6:.0f}) µs"
    for precision, width in (("fp32", 4), ("fp16", 2)):
        ratio = lambda who: f"{medians[who] / medians[precision]:.2f} ({leasts[who] / leasts[precision]:.2f})"
        # Recurrent weights are read at every step but the first.
        read = 2 * (STEPS - 1) * 4 * shape[1] ** 2 * width
        print(
            f"| {shape} | {precision} | {stored[shape, precision] / 1024:.0f} KiB | {show(precision)} | {show('onnx')} | "
            f"{show('torch')} | {ratio('onnx')} | {ratio('torch')} | {read / leasts[precision] / 1e9:.0f} |"
        )
