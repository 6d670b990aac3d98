"""Images per second of the input pipeline alone, with strong augmentation: kzoo against a map per image, in one run.

    python tests/benchmarks/pipeline.py [--images 8192] [--batch 128] [--rounds 3]

Three pipelines make shuffled, augmented, normalised batches of the same 8-bit images in memory: shift by up to 4
pixels, flip, RandAugment 9 with two operations, a square cut out. "keras.layers" maps tf.image and
keras.layers.RandAugment over single images, as one would write it; "same operations" maps kzoo's own 14 operations
over single images with tf.switch_case, each image running only those it drew. Both in parallel, with AUTOTUNE, and
prefetched. All take turns, and the best round of each counts. Where other work shares the cores, images per second of
processor time are the fairer figure: what all cores spent, so that a machine to itself makes as many per core.

Seen on 2 shared cores (AMD EPYC), per processor second: CIFAR-like kzoo 27,300, 6.0 times the same operations per image
and 33 times keras.layers; MNIST-like 42,100, 8.6 and 26 times. On 2 quiet cores (Intel Xeon): CIFAR-like 13,300, 7.2
and 42 times, 25,400 images a second in all; MNIST-like 17,300, 8.1 and 27 times, 33,600 in all.

"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from kzoo.data.image import ImageAugment, ImagePreprocess
from kzoo.data.image.randaugment import OPERATIONS
from kzoo.data.splits import Examples, Splits
from kzoo.tasks import Classification

SHAPES = {"CIFAR-like": (32, 32, 3), "MNIST-like": (28, 28, 1)}
SHIFT, SIDE, MAGNITUDE = 4, 8, 9
WARM_UP = 8  # batches; fills the prefetched ones and tunes the parallel calls


def ours(examples: Examples, batch: int) -> tf.data.Dataset:
    """Return kzoo's batches, without an end."""
    augment = ImageAugment(shift=SHIFT, flip=True, randaugment=MAGNITUDE, cutout=SIDE)
    names = tuple(map(str, range(10)))
    splits = Splits(
        "random", "image", {"train": examples}, Classification(names), ImagePreprocess.fit(examples), augment, batch
    )
    return splits.train_batches()


def per_image(examples: Examples, batch: int, randaugment: Callable) -> tf.data.Dataset:
    """Return the batches of a map over single images, without an end."""
    preprocess = ImagePreprocess.fit(examples)
    mean, std = tf.constant(preprocess.mean, tf.float32), tf.constant(preprocess.std, tf.float32)

    def changed(image, label):
        image = tf.ensure_shape(randaugment(image), image.shape)
        padded = tf.pad(image, [[SHIFT, SHIFT], [SHIFT, SHIFT], [0, 0]])
        image = tf.image.random_flip_left_right(tf.image.random_crop(padded, image.shape))
        return (cut_out(tf.cast(image, tf.float32), mean) - mean) / std, label

    dataset = tf.data.Dataset.from_tensor_slices((examples.inputs, examples.labels)).shuffle(len(examples)).repeat()
    dataset = dataset.map(changed, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch).prefetch(tf.data.AUTOTUNE)


def cut_out(image, colour):
    """Set a square of one image to a colour."""
    rows, columns = (
        tf.abs(tf.range(size) - tf.random.uniform([], 0, size, tf.int32)) < SIDE // 2 for size in image.shape[:2]
    )
    return tf.where(rows[:, None, None] & columns[None, :, None], colour, image)


def by_switch(image):
    """Apply two of kzoo's operations to one image."""
    for _ in range(2):
        strength = MAGNITUDE / 30 * tf.sign(tf.random.uniform([1], -1.0, 1.0))
        branches = [lambda f=f, x=image, s=strength: f(x[None], s)[0] for f in OPERATIONS.values()]
        image = tf.switch_case(tf.random.uniform([], 0, len(OPERATIONS), tf.int32), branches)
    return image


def by_keras() -> Callable:
    """Return the layer of Keras as a function of one image."""
    layer = keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=MAGNITUDE / 30)
    return lambda image: layer(tf.cast(image, tf.float32), training=True)


def seconds(batches: Iterator, steps: int) -> np.ndarray:
    """Return the time of some batches, and the processor time of all threads in it."""
    start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        next(batches)
    return np.array([time.perf_counter() - start[0], time.process_time() - start[1]])


def best_speeds(pipelines: dict[str, tf.data.Dataset], images: int, batch: int, rounds: int) -> dict[str, np.ndarray]:
    """Return the images per second, and per second of processor time, in each pipeline's best round."""
    best = {name: np.zeros(2) for name in pipelines}
    steps = max(1, images // batch)
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            batches = iter(pipeline)  # ends with its turn: the next pipeline has the cores for itself
            seconds(batches, WARM_UP)
            best[name] = np.maximum(best[name], steps * batch / seconds(batches, steps))
            del batches
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    for option, default in (("--images", 8192), ("--batch", 128), ("--rounds", 3)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"batches of {options.batch}, {os.cpu_count()} cores; kzoo's speed over theirs in brackets")
    for kind, shape in SHAPES.items():
        inputs = rng.integers(0, 256, (10_000, *shape), dtype="uint8")
        examples = Examples(inputs, rng.integers(0, 10, len(inputs)).astype("int32"))
        pipelines = {
            "kzoo": ours(examples, options.batch),
            "per image, same operations": per_image(examples, options.batch, by_switch),
            "per image, keras.layers": per_image(examples, options.batch, by_keras()),
        }
        speeds = best_speeds(pipelines, options.images, options.batch, options.rounds)
        for name, speed in speeds.items():
            wall, processor = (f"{v:9,.0f} ({r:4.1f})" for v, r in zip(speed, speeds["kzoo"] / speed, strict=True))
            print(f"{kind:10} {name:28} {wall} images/s  {processor} per processor second", flush=True)


if __name__ == "__main__":
    main()
