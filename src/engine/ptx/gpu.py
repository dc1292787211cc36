"""Runs the kernels of kernels.ptx on a GPU and compares them with the same formulas in Python.

Needs an NVIDIA driver and nothing else: python3 src/engine/ptx/gpu.py. Prints a line per kernel; exit code 1 if one is off.
"""
import ctypes
import math
import os
import random
import struct
import sys

CUDA = ctypes.CDLL("libcuda.so.1")


def check(code, what):
    if code != 0:
        name = ctypes.c_char_p()
        CUDA.cuGetErrorName(code, ctypes.byref(name))
        sys.exit(f"{what}: {name.value.decode() if name.value else code}")


class Device:
    def __init__(self, text):
        check(CUDA.cuInit(0), "cuInit")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        check(CUDA.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
        name = ctypes.create_string_buffer(100)
        check(CUDA.cuDeviceGetName(name, 100, device), "cuDeviceGetName")
        self.name = name.value.decode()
        check(CUDA.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
        check(CUDA.cuCtxSetCurrent(context), "cuCtxSetCurrent")
        self.module = ctypes.c_void_p()
        # Options 5 and 6 of the driver's enum: a buffer for what its compiler says, and the size of it.
        log = ctypes.create_string_buffer(8192)
        options = (ctypes.c_int * 2)(5, 6)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        code = CUDA.cuModuleLoadDataEx(ctypes.byref(self.module), text.encode() + b"\0", 2, options, values)
        check(code, "cuModuleLoadDataEx" if code == 0 else log.value.decode())

    def upload(self, data):
        address = ctypes.c_uint64()
        check(CUDA.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(len(data))), "cuMemAlloc")
        check(CUDA.cuMemcpyHtoD_v2(address, data, ctypes.c_size_t(len(data))), "cuMemcpyHtoD")
        return address

    def download(self, address, count, kind):
        size = struct.calcsize(kind) * count
        data = ctypes.create_string_buffer(size)
        check(CUDA.cuMemcpyDtoH_v2(data, address, ctypes.c_size_t(size)), "cuMemcpyDtoH")
        return list(struct.unpack(f"<{count}{kind}", data.raw))

    def launch(self, name, blocks, arguments):
        function = ctypes.c_void_p()
        check(CUDA.cuModuleGetFunction(ctypes.byref(function), self.module, name.encode()), name)
        pointers = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(one) for one in arguments])
        check(CUDA.cuLaunchKernel(function, blocks, 1, 1, 128, 1, 1, 0, None, pointers, None), name)
        check(CUDA.cuCtxSynchronize(), name)


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def pack(kind, values):
    return struct.pack(f"<{len(values)}{kind}", *values)


u32, f32_argument, f64_argument = ctypes.c_uint32, ctypes.c_float, ctypes.c_double


def blocks(count):
    return (count + 127) // 128


def main():
    text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels.ptx")).read()
    device, draw, failed = Device(text), random.Random(3), []
    print(device.name)

    def compare(name, ours, expected, tolerance):
        worst = max(
            0.0 if math.isnan(a) and math.isnan(b) else abs(a - b) / (1.0 + abs(b)) for a, b in zip(ours, expected)
        )
        good = worst <= tolerance and len(ours) == len(expected)
        print(f"{name:24} {len(ours):6} elements, worst {worst:.2e}{'' if good else '  OFF'}")
        if not good:
            failed.append(name)

    # Planes of 40 rows and 5 columns; 30 samples with 4 slots, one of them empty now and then.
    rows, columns, width, steps, lag, horizon = 40, 5, 4, 6, 1, 3
    plane = [draw.gauss(0, 0.01) for _ in range(rows * columns)]
    plane[17] = float("nan")
    as_of = [row for row in range(30)]
    slots = [draw.choice([-1, 0, 1, 2, 3, 4]) for _ in range(30 * width)]
    samples = draw.sample(range(30), 20)
    mean, inverse = 1e-4, 98.0
    buffers = [
        device.upload(pack("d", plane)), device.upload(pack("I", as_of)),
        device.upload(pack("i", slots)), device.upload(pack("I", samples)),
    ]
    score = lambda value: f32(max(min((value - mean) * inverse, 1e4), -1e4)) if math.isfinite(value) else 0.0
    count = len(samples) * steps * width
    out = device.upload(bytes(4 * count))
    device.launch("gather", blocks(count), buffers + [out, u32(count), u32(steps), u32(width), u32(columns),
                                                      f64_argument(mean), f64_argument(inverse)])
    expected = []
    for sample in samples:
        for step in range(steps):
            for slot in range(width):
                row, column = as_of[sample] + step + 1 - steps, slots[sample * width + slot]
                expected.append(score(plane[row * columns + column]) if row >= 0 and column >= 0 else 0.0)
    x = device.download(out, count, "f")
    compare("gather", x, expected, 0.0)

    count = len(samples) * width
    labels = device.upload(bytes(4 * count))
    device.launch("labels", blocks(count), buffers + [labels, u32(count), u32(width), u32(columns), u32(lag),
                                                      u32(horizon), f64_argument(mean), f64_argument(inverse)])
    expected = []
    for sample in samples:
        for slot in range(width):
            column, first = slots[sample * width + slot], as_of[sample] + 1 + lag
            growth = math.prod(1.0 + plane[(first + k) * columns + column] for k in range(horizon))
            known = column >= 0 and math.isfinite(growth)
            expected.append(score(growth - 1.0) if known else float("nan"))
    label_values = device.download(labels, count, "f")
    compare("labels", label_values, expected, 1e-6)

    # A layer of 24 inputs and 4 outputs.
    size, inputs, outputs = len(samples), steps * width, width
    weight = [f32(draw.uniform(-0.5, 0.5)) for _ in range(inputs * outputs)]
    bias = [f32(draw.uniform(-0.5, 0.5)) for _ in range(outputs)]
    of_weight, of_bias = device.upload(pack("f", weight)), device.upload(pack("f", bias))
    y = device.upload(bytes(4 * size * outputs))
    device.launch("linear_forward", blocks(size * outputs), [out, of_weight, of_bias, y, u32(size * outputs),
                                                             u32(inputs), u32(outputs)])
    expected = [bias[o] + sum(x[r * inputs + k] * weight[o * inputs + k] for k in range(inputs))
                for r in range(size) for o in range(outputs)]
    values = device.download(y, size * outputs, "f")
    compare("linear_forward", values, expected, 1e-5)

    gradient, total = device.upload(bytes(4 * size * outputs)), device.upload(pack("d", [2.0]))
    device.launch("mean_square", 1, [y, labels, gradient, total, u32(size * outputs)])
    finite = [index for index, label in enumerate(label_values) if math.isfinite(label)]
    squares = sum((values[index] - label_values[index]) ** 2 for index in finite)
    compare("mean_square, loss", device.download(total, 1, "d"), [2.0 + squares / len(finite)], 1e-12)
    expected = [2.0 * (values[index] - label_values[index]) / len(finite) if index in set(finite) else 0.0
                for index in range(size * outputs)]
    g = device.download(gradient, size * outputs, "f")
    compare("mean_square, gradient", g, expected, 1e-6)

    count = inputs * outputs
    gradients = device.upload(bytes(4 * count))
    device.launch("add_products", blocks(count), [gradient, out, gradients, u32(count), u32(inputs), u32(size),
                                                  u32(outputs), u32(inputs)])
    expected = [sum(g[r * outputs + o] * x[r * inputs + k] for r in range(size))
                for o in range(outputs) for k in range(inputs)]
    of_weights = device.download(gradients, count, "f")
    compare("add_products", of_weights, expected, 1e-5)

    below = device.upload(bytes(4 * size * inputs))
    device.launch("linear_input_gradient", blocks(size * inputs), [gradient, of_weight, below, u32(size * inputs),
                                                                   u32(inputs), u32(outputs)])
    expected = [sum(g[r * outputs + o] * weight[o * inputs + k] for o in range(outputs))
                for r in range(size) for k in range(inputs)]
    compare("linear_input_gradient", device.download(below, size * inputs, "f"), expected, 1e-6)

    norm = device.upload(bytes(8))
    device.launch("sum_of_squares", 1, [gradients, norm, u32(count)])
    square = sum(value * value for value in of_weights)
    compare("sum_of_squares", device.download(norm, 1, "d"), [square], 1e-12)

    first, second = [f32(draw.gauss(0, 1e-3)) for _ in range(count)], [f32(draw.random() * 1e-5) for _ in range(count)]
    of_first, of_second, flag = (device.upload(pack("f", first)), device.upload(pack("f", second)),
                                 device.upload(bytes(4)))
    clip, constants = 0.1, [f32(c) for c in (0.999, 0.01, 0.1, 0.999, 0.001, 0.02, 0.05, 1e-8)]
    shrink, l2, gain_first, beta2, gain_second, step_size, root, epsilon = constants
    arguments = [of_weight, gradients, of_first, of_second, norm, flag, u32(count), f64_argument(clip)]
    device.launch("adam", blocks(count), arguments + [f32_argument(c) for c in constants])
    factor, expected = min(clip / (math.sqrt(square) + 1e-6), 1.0), []
    for parameter, grad, m, v in zip(weight, of_weights, first, second):
        parameter *= shrink
        grad = grad * factor + l2 * parameter
        m += (grad - m) * gain_first
        v = v * beta2 + grad * grad * gain_second
        expected.append(parameter - step_size * m / (math.sqrt(v) / root + epsilon))
    stepped = device.download(of_weight, count, "f")
    compare("adam", stepped, expected, 1e-5)
    device.launch("adam", blocks(count), arguments[:4] + [device.upload(pack("d", [float("inf")]))] + arguments[5:]
                  + [f32_argument(c) for c in constants])
    compare("adam, non-finite norm", device.download(of_weight, count, "f"), stepped, 0.0)
    compare("adam, flag", [float(device.download(flag, 1, "I")[0])], [1.0], 0.0)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
