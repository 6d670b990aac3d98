"""Seconds and megabytes that building a network takes, each in a process of its own.

    python tests/benchmarks/build.py [NAME ...]

At its reference input, after Keras has been imported and a small network been built. Seconds are the processor's, as
the machine may be shared; megabytes are the most that the process held more than before, less the weights. Without
names: the slowest on 2 cores (AMD EPYC) with less than 120 million parameters. Where keras.applications has the network
too, its own figures stand beside.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

SLOWEST = ["efficientnet_v2_l", "hrnet_w48", "hrnet_w18", "tf_efficientnet_b7", "inception_resnet_v2", "resnet152"]
APPLICATIONS = {
    "densenet201": "DenseNet201",
    "inception_resnet_v2": "InceptionResNetV2",
    "resnet152": "ResNet152",
    "tf_efficientnet_b7": "EfficientNetB7",
    "tf_efficientnetv2_l": "EfficientNetV2L",
    "vgg16": "VGG16",
}


class Cost(NamedTuple):
    """What building a network took."""

    seconds: float
    megabytes: float
    layers: int


def peak() -> float:
    """Return the most megabytes that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cost(build: Callable) -> Cost:
    """Build once in this process."""
    before, start = peak(), time.process_time()
    model = build()
    seconds, held = time.process_time() - start, peak() - before
    weights = sum(weight.numpy().nbytes for weight in model.weights) / 1e6
    return Cost(seconds, held - weights, len(model.layers))


def of_kzoo(name: str) -> Cost:
    import kzoo

    kzoo.create_model("resnet8", (32, 32, 3), 10)
    return cost(lambda: kzoo.create_model(name, *kzoo.model_card(name).reference[:2]))


def of_applications(name: str) -> Cost:
    import keras

    import kzoo

    kzoo.create_model("resnet8", (32, 32, 3), 10)
    shape = kzoo.model_card(name).reference.input_shape
    return cost(lambda: getattr(keras.applications, APPLICATIONS[name])(weights=None, input_shape=shape))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=SLOWEST)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    one_each = {"max_workers": 1, "max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("spawn")}
    with ProcessPoolExecutor(**one_each) as processes:
        for name in parser.parse_args().names:
            costs = {"kzoo": processes.submit(of_kzoo, name)}
            if name in APPLICATIONS:
                costs["keras.applications"] = processes.submit(of_applications, name)
            for library, (seconds, megabytes, layers) in ((key, each.result()) for key, each in costs.items()):
                print(f"{name:24} {library:20} {seconds:5.1f} s {megabytes:6.0f} MB {layers:6} layers", flush=True)


if __name__ == "__main__":
    main()
