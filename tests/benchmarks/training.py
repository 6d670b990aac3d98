"""Examples per second of training: kzoo.fit against bare Keras and a PyTorch loop, in one run, on the same threads.

    python tests/benchmarks/training.py [--examples 4096] [--rounds 3] [NAME ...]

Same network, same data (random), same batch, Adam's steps. `convnet` is the size that LeNet has in many tutorials: 32
and 64 kernels of 5 x 5 and 512 dense units. All ways take turns; of each the best epoch after the first counts, since
the machine may be shared, and the first, with all tracing and compiling, is shown beside it. The last column is the
ratio to bare Keras. A way that is not installed is left out, and that is said.

Seen on 2 quiet cores (AMD EPYC with AVX-512 bf16; Keras 3.15, TensorFlow 2.21, PyTorch 2.13; two rounds), kzoo.fit, the
same with precision="auto" and PyTorch, each against bare Keras: lenet5 1.44, 1.56, 1.55; convnet 1.00, 1.39, 0.83;
resnet20 0.98, 1.10, 1.30; fcn 1.13, 1.29, 1.00. That was before batch normalisation became one operation. With it, on 2
quiet cores (Intel Xeon without AMX, where "auto" is float32; --examples 2048 --rounds 2), kzoo.fit and PyTorch: lenet5
1.12, 1.66; convnet 0.93, 0.96; resnet20 1.42, 1.54.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import kzoo
from kzoo.data.image import ImagePreprocess
from kzoo.data.splits import Examples, Splits
from kzoo.tasks import Classification

BATCH = 64
SHAPES = {"lenet5": (28, 28, 1), "convnet": (28, 28, 1), "resnet20": (32, 32, 3), "fcn": (150, 1)}
HYPERPARAMETERS = {
    "convnet": {"filters": (32, 64), "kernel": 5, "padding": "same", "dense_units": (512,), "dropout": 0.0}
}


class Stopwatch(keras.callbacks.Callback):
    """Keep the seconds of each epoch, its validation left out."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_train_begin(self, logs=None):
        self.began, self.ended = time.perf_counter(), None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            self.began, self.ended = time.perf_counter(), None

    def on_test_begin(self, logs=None):
        self.ended = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append((self.ended or time.perf_counter()) - self.began)


def random_splits(shape: tuple[int, ...], count: int, batch: int = BATCH) -> Splits:
    """Return random examples of ten classes: 8-bit images, or series of float32."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (count, *shape)).astype("uint8" if len(shape) == 3 else "float32")
    train = Examples(inputs, rng.integers(0, 10, count).astype("int32"))
    examples = {"train": train, "validation": train.take(np.arange(batch)), "test": train.take(np.arange(batch))}
    names = tuple("0123456789")
    return Splits("random", "image", examples, Classification(names), ImagePreprocess.fit(train), batch_size=batch)


def network(name: str, shape: tuple[int, ...], precision: str = "float32") -> keras.Model:
    """Return a network of ten classes."""
    return kzoo.create_model(name, shape, 10, precision=precision, **HYPERPARAMETERS.get(name, {}))


def by_kzoo(precision: str) -> Callable:
    """Return a training by `kzoo.fit`."""

    def train(name: str, splits: Splits, epochs: int) -> list[float]:
        model, watch = network(name, splits.input_shape, precision), Stopwatch()
        kzoo.fit(model, splits, epochs=epochs, optimizer="adam", callbacks=[watch], verbose=False)
        return watch.seconds

    return train


def by_keras(name: str, splits: Splits, epochs: int) -> list[float]:
    """Train by Keras alone, as its guide begins: numpy in, default settings."""
    model, watch = network(name, splits.input_shape), Stopwatch()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    inputs = splits.examples["train"].inputs.astype("float32") / 255
    model.fit(inputs, splits.examples["train"].labels, batch_size=BATCH, epochs=epochs, callbacks=[watch], verbose=0)
    return watch.seconds


def by_pytorch(name: str, splits: Splits, epochs: int) -> list[float]:
    """Train by a plain loop of PyTorch, channels last."""
    import torch

    network = torch_network(name)
    inputs = torch.from_numpy(splits.examples["train"].inputs.astype("float32") / 255).movedim(-1, 1)
    inputs = inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs.contiguous()
    if inputs.ndim == 4:
        network = network.to(memory_format=torch.channels_last)
    labels = torch.from_numpy(splits.examples["train"].labels).long()
    optimizer, loss_of = torch.optim.Adam(network.parameters()), torch.nn.CrossEntropyLoss()
    seconds = []
    for _ in range(epochs):
        began, order = time.perf_counter(), torch.randperm(len(inputs))
        for batch in order.split(BATCH):
            optimizer.zero_grad()
            loss_of(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def torch_network(name: str):
    """Return the same network in PyTorch."""
    from torch import nn

    def conv_norm(given: int, made: int, kernel: int, stride: int = 1, axes: int = 2):
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv1d, nn.BatchNorm1d)
        padding = kernel // 2 if stride > 1 else "same"
        return nn.Sequential(conv(given, made, kernel, stride, padding, bias=axes == 1), norm(made))

    class Block(nn.Module):
        def __init__(self, given: int, made: int, stride: int):
            super().__init__()
            self.branch = nn.Sequential(conv_norm(given, made, 3, stride), nn.ReLU(), conv_norm(made, made, 3))
            self.stride, self.more = stride, made - given

        def forward(self, x):
            short = x[:, :, :: self.stride, :: self.stride]
            return nn.functional.relu(self.branch(x) + nn.functional.pad(short, (0, 0, 0, 0, 0, self.more)))

    def resnet20():
        widths = [16] * 4 + [32] * 3 + [64] * 3
        blocks = [Block(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(widths)]
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        return nn.Sequential(conv_norm(3, 16, 3), nn.ReLU(), *blocks, *end)

    def lenet5():
        features = [nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh()]
        dense = [nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)]
        return nn.Sequential(*features, nn.AvgPool2d(2), nn.Flatten(), *dense)

    def convnet():
        features = [nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2)]
        dense = [nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Linear(512, 10)]
        return nn.Sequential(*features, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), *dense)

    def fcn():
        convs = [conv_norm(1, 128, 8, axes=1), nn.ReLU(), conv_norm(128, 256, 5, axes=1), nn.ReLU()]
        end = [conv_norm(256, 128, 3, axes=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 10)]
        return nn.Sequential(*convs, *end)

    return {"resnet20": resnet20, "lenet5": lenet5, "convnet": convnet, "fcn": fcn}[name]()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(SHAPES))
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ways = {"bare Keras": by_keras, "kzoo.fit": by_kzoo("float32"), 'kzoo.fit, precision="auto"': by_kzoo("auto")}
    if importlib.util.find_spec("torch"):
        ways["PyTorch loop"] = by_pytorch
    else:
        print("PyTorch: left out, torch is not installed")
    for name in options.names:
        splits = random_splits(SHAPES[name], options.examples)
        first, best = {}, {}
        for _ in range(options.rounds):
            for way, train in ways.items():
                seconds = train(name, splits, 4)
                first[way] = min(seconds[0], first.get(way, np.inf))
                best[way] = min(*seconds[1:], best.get(way, np.inf))
                keras.backend.clear_session()
        print(f"\n{name}, {SHAPES[name]}, batches of {BATCH}, {os.cpu_count()} cores")
        for way in ways:
            speed, ratio = options.examples / best[way], best["bare Keras"] / best[way]
            print(f"  {way:28} {speed:8,.0f} examples/s  {ratio:5.2f}   first epoch {first[way]:5.1f} s")


if __name__ == "__main__":
    main()
