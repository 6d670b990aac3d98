"""ResNet-50's training on an accelerator: kzoo on JAX beside PyTorch, in one table, with the share of the peak.

    python tests/benchmarks/accelerator.py [--batch 256] [--size 224] [--steps 30] [--precision bfloat16]

Same network, batch and precision, momentum's steps, random images. Each way has a process of its own, since JAX takes
most of an accelerator's memory, and after its first steps, which compile, `steps` are timed. "kzoo.fit" takes 8-bit
images from the host's memory, as a user's training does, "its step alone" and PyTorch (channels last, torch.compile)
one batch that is on the device. The peak is that of products of matrices in the same library and precision; a training
step counts 6 operations for each multiplication of a forward pass.

No figures of an accelerator yet: it was run with `--batch 8 --size 64 --steps 3 --matrix 1024 --precision float32` on 2
cores, to see that it works.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

MATRIX, PRODUCTS, ROUNDS = 8192, 10, 5
WARM_UP = 3  # steps
WAYS = {"kzoo.fit": "jax", "kzoo, its step alone": "jax", "PyTorch, torch.compile": "torch"}


def by_kzoo(options: argparse.Namespace, *, on_device: bool) -> tuple[float, float]:
    """Return the images per second of kzoo on JAX, and the peak in operations per second."""
    import jax
    import keras
    from training import Stopwatch, random_splits

    import kzoo
    from kzoo.data.batches import Batches

    splits = random_splits((options.size, options.size, 3), options.batch * options.steps, options.batch)
    precision = {"bfloat16": "mixed_bfloat16"}.get(options.precision, options.precision)
    model = kzoo.create_model("resnet50", splits.input_shape, 10, precision=precision)
    watch, recipe = Stopwatch(), {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant"}
    kzoo.fit(model, splits, epochs=2, callbacks=[watch], verbose=False, **recipe)
    if on_device:
        batch = tuple(jax.device_put(part) for part in splits.training_batch(0))
        model.fit(Batches(lambda number: batch, WARM_UP), verbose=0)
        model.fit(Batches(lambda number: batch, options.steps), callbacks=[watch], verbose=0)
    matrix = keras.random.normal((options.matrix, options.matrix), stddev=options.matrix**-0.5, dtype=options.precision)
    product = jax.jit(lambda x: x @ matrix)
    return options.batch * options.steps / watch.seconds[-1], peak(product, matrix, jax.block_until_ready)


def by_pytorch(options: argparse.Namespace) -> tuple[float, float]:
    """Return the images per second of a loop of PyTorch, and the peak in operations per second."""
    import torch

    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", getattr(torch, options.precision)
    network = torch_resnet50().to(device, memory_format=torch.channels_last)
    inputs = torch.randn(options.batch, 3, options.size, options.size, device=device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,), device=device)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True)
    forward = torch.compile(network)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = torch.nn.functional.cross_entropy(forward(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    def wait(tensor):
        return tensor.flatten()[0].item()

    for _ in range(WARM_UP):
        wait(step())
    began = time.perf_counter()
    for _ in range(options.steps):
        loss = step()
    wait(loss)
    speed = options.batch * options.steps / (time.perf_counter() - began)
    matrix = (torch.randn(options.matrix, options.matrix, device=device) / options.matrix**0.5).to(dtype)
    return speed, peak(lambda x: x @ matrix, matrix, wait)


def peak(product, matrix, wait) -> float:
    """Return the operations per second of the fastest of some rounds of products of a matrix with itself."""
    times = []
    for _ in range(ROUNDS):
        began, x = time.perf_counter(), matrix
        for _ in range(PRODUCTS):
            x = product(x)
        wait(x)
        times.append(time.perf_counter() - began)
    return PRODUCTS * 2 * len(matrix) ** 3 / min(times)


def torch_resnet50():
    """Return ResNet-50 (v1.5) of ten classes in PyTorch."""
    from torch import nn

    def conv_norm(given, made, kernel, stride=1):
        return [nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(made)]

    class Block(nn.Module):
        def __init__(self, given, width, stride):
            super().__init__()
            first, second = conv_norm(given, width, 1), conv_norm(width, width, 3, stride)
            self.branch = nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU(), *conv_norm(width, 4 * width, 1))
            same = stride == 1 and given == 4 * width
            self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(given, 4 * width, 1, stride))

        def forward(self, x):
            return nn.functional.relu(self.branch(x) + self.shortcut(x))

    layers, given = [*conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(depth):
            layers.append(Block(given, width, 2 if stage and not block else 1))
            given = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, 10))


def measured(way: str, options: argparse.Namespace) -> tuple[float, float]:
    """Measure one way in this process."""
    return by_pytorch(options) if way.startswith("PyTorch") else by_kzoo(options, on_device=way != "kzoo.fit")


def main() -> None:
    parser = argparse.ArgumentParser()
    for option, default in (("--batch", 256), ("--size", 224), ("--steps", 30), ("--matrix", MATRIX)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("--precision", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--way", choices=WAYS, help="of which alone numbers are printed, as JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options)))
        return
    os.environ["KERAS_BACKEND"] = "jax"
    from kzoo import create_model, macs

    shape = (options.size, options.size, 3)
    work = 6 * macs(create_model("resnet50", shape, 10), shape)
    print(f"resnet50, {shape}, batches of {options.batch}, {options.precision}")
    for way, library in WAYS.items():
        if not importlib.util.find_spec(library):
            print(f"  {way:24} left out, {library} is not installed")
            continue
        command = [sys.executable, *sys.argv, "--way", way]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        speed, best = json.loads(found.splitlines()[-1])
        share = work * speed / best
        print(f"  {way:24} {speed:9,.1f} images/s  {share:6.1%} of {best / 1e12:,.2f} TFLOP/s", flush=True)


if __name__ == "__main__":
    main()
