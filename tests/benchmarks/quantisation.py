"""Score, size and latency of MLPerf Tiny's four networks in 8-bit integers, beside float32.

    python tests/benchmarks/quantisation.py ../shared    # a folder with data/ and weights/; 5 minutes on two cores

ResNet-8 has MLPerf Tiny's own weights and is measured on CIFAR-10's test split but for the 500 images that it is
calibrated on. DS-CNN is the spoken-digit network inside kzoo. For MobileNet's people and the auto-encoder's machines
there are no data here: they learn clothes and digits.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

import kzoo
from kzoo.data.splits import Splits
from kzoo.models.mobilenetv1 import scaled

Case = tuple[str, keras.Model, Splits]


def resnet8(shared: Path) -> Case:
    """Return MLPerf Tiny's ResNet-8 with its own weights, which takes pixels as they are."""
    import h5py

    sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
    from test_real_weights import mlperf_tiny_weights

    with np.load(shared / "data" / "cifar10_test.npz") as split:
        images, labels, names = split["image"], split["label"], list(map(str, split["class_names"]))
    model = kzoo.create_model("resnet8", (32, 32, 3), 10)
    with h5py.File(shared / "weights" / "resnet8_cifar10_mlperf_tiny.h5") as file:
        weights = mlperf_tiny_weights(file)
    for weight in model.weights:
        weight.assign(weights[weight.path])
    data = kzoo.from_arrays(images[:500], labels[:500], test=(images[500:], labels[500:]), class_names=names)
    plain = dataclasses.replace(data.preprocess, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return "resnet8, CIFAR-10", model, dataclasses.replace(data, preprocess=plain)


def ds_cnn(shared: Path) -> Case:
    """Return the DS-CNN of spoken digits inside kzoo, with the split that it was trained on."""
    model, _ = kzoo.load_run("kzoo/spoken_digits")
    data = kzoo.load_dataset(
        f"audio_folder:{shared / 'data' / 'free_spoken_digits.zip'}",
        pattern="{digit}_{speaker}_{index}.wav",
        test_rule="speaker=lucas",
        feature="mfcc",
        n_mfcc=10,
        window_ms=40,
        hop_ms=20,
    )
    return "ds_cnn, spoken digits", model, data


def mobilenet(shared: Path) -> Case:
    """Return a MobileNetV1 of a quarter of the width that learned clothes."""
    data = kzoo.load_dataset(
        "fashion_mnist", data_dir=str(shared / "data"), download=False, image_size=32, limit=12_000
    )
    quarter = scaled(0.25)  # of MLPerf Tiny
    model = kzoo.create_model("mobilenetv1_100", data.input_shape, data.num_outputs, **quarter)
    kzoo.fit(model, data, epochs=8, learning_rate=3e-3, verbose=False)
    return "mobilenetv1, a quarter of the width, Fashion-MNIST", model, data


def autoencoder(shared: Path) -> Case:
    """Return MLPerf Tiny's auto-encoder that learned to return digits, as 64 numbers."""
    digits = kzoo.load_dataset("digits").examples
    parts = {split: part.inputs.reshape(len(part), 64, 1).astype("float32") / 255 for split, part in digits.items()}
    test = (parts["test"], parts["test"])
    data = kzoo.from_arrays(parts["train"], parts["train"], test=test, task="restoration", modality="timeseries")
    model = kzoo.create_model("autoencoder", data.input_shape, 1)
    kzoo.fit(model, data, epochs=40, learning_rate=3e-3, verbose=False)
    return "autoencoder, digits", model, data


def cases(shared: Path, chosen: list[str]) -> Iterator[Case]:
    """Yield the chosen cases, each with seed 0."""
    for make in (resnet8, ds_cnn, mobilenet, autoencoder):
        if not chosen or make.__name__ in chosen:
            keras.utils.set_random_seed(0)
            yield make(shared)


def main() -> None:
    """Print a line for each network and mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--case", action="append", default=[])
    options = parser.parse_args()
    for name, model, data in cases(options.shared, options.case):
        for mode in ("int8", "float16", "dynamic"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.tflite"
                exported = kzoo.export(model, path, data=data, format="litert", quantize=mode)
                print(f"{name} | {exported.quantized}", flush=True)


if __name__ == "__main__":
    main()
