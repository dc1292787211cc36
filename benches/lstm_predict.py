"""Times predictions of an LSTM, one alone and in batches, in single and in half precision, beside ONNX Runtime's and PyTorch's
in single precision, one thread each, at every instruction level of the machine, and prints a table with ratios.

Run from the project's root: `cargo bench --bench lstm_predict --no-run`, then `python3 benches/lstm_predict.py PROGRAM`, where
PROGRAM is the path that cargo printed and Python has torch, onnx and onnxruntime installed. All take turns; times are per
decision, medians of the turns' medians, and the least of all. PyTorch keeps to the level; ONNX Runtime cannot be told to, and
always takes the best one.
"""

import json
import os
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


def session(net, assets, hidden, batch):
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
        nodes, "lstm", [described("x", [STEPS, batch, assets])], [described("weights", [batch, assets])], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def median(call, repeats):
    for _ in range(20):
        call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), min(seconds)


def theirs(assets, hidden, batch):
    torch.manual_seed(0)
    net = Net(assets, hidden).eval()
    other = session(net, assets, hidden, batch)
    x = torch.rand(batch, STEPS, assets) - 0.5
    steps_first = x.numpy().transpose(1, 0, 2).copy()
    repeats = max(100, REPEATS // batch)
    with torch.inference_mode():
        apart = abs(net(x).numpy() - other.run(None, {"x": steps_first})[0]).max()
        assert apart < 1e-5, f"the peers' answers are {apart} apart"
        return median(lambda: other.run(None, {"x": steps_first}), repeats), median(lambda: net(x), repeats)


torch.set_num_threads(1)
if sys.argv[1] == "--peer":
    for case in json.loads(sys.argv[2]):
        print(json.dumps([case, theirs(*case)]))
    sys.exit()

# What makes PyTorch's libraries keep to a level.
KEEP_TO = {
    "x86-64-v3": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
ours, peers, stored = {}, {}, {}
for _ in range(TURNS):
    lines = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
    cases = {}
    for found in map(json.loads, lines):
        case = (found["assets"], found["hidden"], found["batch"])
        of_level = cases.setdefault(found["level"], [])
        if case not in of_level:
            of_level.append(case)
        key = (found["level"], case, found["precision"])
        ours.setdefault(key, []).append((found["median"], found["least"]))
        stored[key] = found["bytes"]
    for level, of_level in cases.items():
        command = [sys.executable, __file__, "--peer", json.dumps(of_level)]
        environment = {**os.environ, **KEEP_TO.get(level, {})}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for case, (onnx_times, torch_times) in map(json.loads, output.splitlines()):
            peers.setdefault((level, tuple(case), "onnx"), []).append(onnx_times)
            peers.setdefault((level, tuple(case), "torch"), []).append(torch_times)


def of(turns):
    return statistics.median(median for median, _ in turns), min(least for _, least in turns)


names = f"ONNX Runtime {onnxruntime.__version__} | PyTorch {torch.__version__}"
print(f"| level | assets, hidden | batch | weights | packed | ours per decision, median (least) | {names} | times faster than ONNX Runtime | than PyTorch | than one alone | than fp32 |")
print("|---" * 11 + "|")
for (level, (assets, hidden, batch), precision), turns in ours.items():
    case = (assets, hidden, batch)
    median_of, least_of = of(turns)
    onnx_times, torch_times = of(peers[level, case, "onnx"]), of(peers[level, case, "torch"])
    show = lambda times: f"{times[0] / batch * 1e6:.0f} ({times[1] / batch * 1e6:.0f}) µs"
    ratio = lambda times: f"{times[0] / median_of:.2f} ({times[1] / least_of:.2f})"
    alone = of(ours[level, (assets, hidden, 1), precision])
    single = of(ours[level, case, "fp32"])
    print(
        f"| {level} | ({assets}, {hidden}) | {batch} | {precision} | {stored[level, case, precision] / 1024:.0f} KiB | "
        f"{show((median_of, least_of))} | {show(onnx_times)} | {show(torch_times)} | {ratio(onnx_times)} | "
        f"{ratio(torch_times)} | {batch * alone[0] / median_of:.2f} ({batch * alone[1] / least_of:.2f}) | {ratio(single)} |"
    )
