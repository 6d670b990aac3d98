"""Images per second of one network: kzoo against keras.applications and timm, in one run, on the same threads.

    python tests/benchmarks/inference.py [--size 224] [--batch 8] [--rounds 5] [NAME ...]

Each way of predicting is warmed up, then all take turns for some rounds, and the best round of each counts: the machine
may be shared. What is not installed is left out, and that is said. The last column is the ratio to kzoo's SavedModel.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import kzoo

APPLICATIONS = {
    "resnet50": "ResNet50",
    "mobilenetv2_100": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
    "vgg16": "VGG16",
}


def saved_model(model: keras.Model, folder: Path) -> Callable:
    """Return the prediction of a model's SavedModel."""
    model.export(str(folder), verbose=False)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    return lambda images: serve(**{name: tf.constant(images)})


def onnx(model: keras.Model, folder: Path) -> Callable:
    """Return the prediction of a model by ONNX Runtime."""
    import onnxruntime

    model.export(str(folder.with_suffix(".onnx")), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(folder.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: images})


def openvino(model: keras.Model, folder: Path) -> Callable:
    """Return the prediction of a model by OpenVINO, in its default precision."""
    import openvino

    model.export(str(folder.with_suffix(".xml")), format="openvino", verbose=False)
    compiled = openvino.Core().compile_model(str(folder.with_suffix(".xml")), "CPU")
    return lambda images: compiled(images)[0]


def timm_eager(name: str) -> Callable:
    """Return the prediction of timm's network, channels last."""
    import timm
    import torch

    network = timm.create_model(name).eval().to(memory_format=torch.channels_last)

    def predict(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images).permute(0, 3, 1, 2))

    return predict


def ways(name: str, size: int, folder: Path) -> dict[str, Callable]:
    """Return every way of predicting with a network that is installed here."""
    model = kzoo.create_model(name, (size, size, 3), 1000)
    every = {
        "kzoo predict": lambda: lambda images: model.predict(images, verbose=0),
        "kzoo SavedModel": lambda: saved_model(model, folder / "ours"),
        "kzoo ONNX Runtime": lambda: onnx(model, folder / "onnx"),
        "kzoo OpenVINO": lambda: openvino(model, folder / "openvino"),
        "timm, eager": lambda: timm_eager(name),
    }
    if name in APPLICATIONS:
        theirs = getattr(keras.applications, APPLICATIONS[name])(weights=None, input_shape=(size, size, 3))
        every["keras.applications predict"] = lambda: lambda images: theirs.predict(images, verbose=0)
        every["keras.applications SavedModel"] = lambda: saved_model(theirs, folder / "theirs")
    needs = {"ONNX": "onnxruntime", "OpenVINO": "openvino", "timm": "timm"}
    found = {}
    for way, make in every.items():
        missing = [package for word, package in needs.items() if word in way and not importlib.util.find_spec(package)]
        if missing:
            print(f"{way}: left out, {missing[0]} is not installed")
        else:
            found[way] = make()
    return found


def best_seconds(predictions: dict[str, Callable], images: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the shortest time of each prediction over rounds in which they take turns."""
    best = dict.fromkeys(predictions, np.inf)
    for number in range(rounds + 1):
        for way, predict in predictions.items():
            start = time.perf_counter()
            predict(images)
            if number:  # the first is the warm-up
                best[way] = min(best[way], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["resnet50"])
    for option, default in (("--size", 224), ("--batch", 8), ("--rounds", 5)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    images = np.random.default_rng(0).normal(size=(options.batch, options.size, options.size, 3)).astype("float32")
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            seconds = best_seconds(ways(name, options.size, Path(folder)), images, options.rounds)
        print(f"\n{name}, {options.size} pixels, batches of {options.batch}, {os.cpu_count()} cores")
        for way, best in seconds.items():
            print(f"  {way:30} {options.batch / best:8.1f} images/s  {seconds['kzoo SavedModel'] / best:5.2f}")


if __name__ == "__main__":
    main()
