"""What saving the state costs: the share of a training's time that its checkpoints take, as often as they can come.

    python tests/benchmarks/checkpoint.py [NAME ...]

Trains on random images for half a minute with `checkpoint_minutes=0`: checkpoints come as often as their own duration
allows. By default there is at most one a minute, which costs less.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from training import random_splits

import kzoo
from kzoo.training import checkpoint


def measure(name: str, size: int, seconds: float = 30.0) -> tuple[int, float, float]:
    """Return how many checkpoints there were, the seconds of one, and their share of the time after the first step."""
    spent, began, save = [], [], checkpoint.save

    def timed(*arguments):
        start = time.perf_counter()
        save(*arguments)
        spent.append(time.perf_counter() - start)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            began.append(time.perf_counter())
            self.model.stop_training = began[-1] - began[0] > seconds

    splits = random_splits((size, size, 3), 8192)
    checkpoint.save = timed
    try:
        with tempfile.TemporaryDirectory() as run:
            model = kzoo.create_model(name, splits.input_shape, 10)
            options = {"epochs": 1, "checkpoint_minutes": 0, "verbose": False}
            kzoo.fit(model, splits, run_dir=run, callbacks=[Stop()], **options)
    finally:
        checkpoint.save = save
    return len(spent), sum(spent) / len(spent), sum(spent) / (began[-1] - began[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["resnet8", "resnet18"])
    for network in parser.parse_args().names:
        count, each, share = measure(network, 32)
        print(f"{network:12} {count} checkpoints of {each:.3f} s: {share:.1%} of the time")
