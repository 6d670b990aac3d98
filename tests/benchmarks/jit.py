"""How much faster TensorFlow trains without XLA than with it, which is why `kzoo.fit` turns it off there.

    python tests/benchmarks/jit.py

One line per network: the ratio of examples per second, both measured in this run. Seen on 2 cores (AMD EPYC, AVX-512):
resnet8 2.2, lenet5 1.0, convnet 2.0.
"""

import time

import keras

import kzoo

NETWORKS = {
    "resnet8": {},
    "lenet5": {},
    "convnet": {"filters": (32, 64, 128), "padding": "same", "norm": "batch", "flatten": False},
}


def examples_per_second(name: str, splits: kzoo.data.Splits, *, jit: bool, steps: int = 100) -> float:
    """Return the speed of training after the compilation."""
    model = kzoo.create_model(name, splits.input_shape, splits.num_classes, **NETWORKS[name])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=jit)
    options = {"epochs": 1, "verbose": 0, "shuffle": False}
    model.fit(splits.train_batches(), steps_per_epoch=20, **options)
    start = time.perf_counter()
    model.fit(splits.train_batches(), steps_per_epoch=steps, **options)
    return steps * splits.batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    digits = kzoo.load_dataset("digits", image_size=28)
    for network in NETWORKS:
        fast, slow = (examples_per_second(network, digits, jit=jit) for jit in (False, True))
        print(f"{network:10} without XLA {fast:7,.0f} examples/s  with it {slow:7,.0f}  ratio {fast / slow:.1f}")
