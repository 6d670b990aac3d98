"""Precision of computation: float32, or mixed precision with 16-bit numbers where the hardware has them.

Weights, logits, losses and the statistics of normalisations are float32 in any case, and so is every network that is
evaluated, saved or exported: 16-bit numbers are for training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kzoo.core.lazy import jax, keras, tf, torch
from kzoo.core.registry import lookup

PRECISIONS = {name: name for name in ("auto", "float32", "mixed_bfloat16", "mixed_float16")}
AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with bfloat16
# Intel's AVX-512 has products of bfloat16 at the rate of float32 at best: networks trained at 0.58 to 0.86 of the speed
# of float32 on a Xeon without AMX, at 1.1 to 1.4 times of it on AMD's (tests/benchmarks/training.py).
FAST_PROCESSORS = ({"amx_bf16"}, {"avx512_bf16", "AuthenticAMD"})


@contextlib.contextmanager
def computing_in(precision: str | None) -> Iterator[None]:
    """Set the precision of layers that are built within the context; None leaves Keras's setting as it is.

    Raises:
        ValueError: for an unknown precision.
    """
    before = keras.config.dtype_policy()
    if precision is not None:
        name = lookup("precision", precision, PRECISIONS)
        keras.config.set_dtype_policy(fastest() if name == "auto" else name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fastest() -> str:
    """Return "mixed_bfloat16" where the backend's device has it in hardware, faster than float32, else "float32"."""
    capabilities = GPUS[keras.backend.backend()]()
    if capabilities:
        return "mixed_bfloat16" if min(capabilities) >= AMPERE else "float32"
    # JAX on processors turns bfloat16 into float32 and back.
    on_processor = keras.backend.backend() == "tensorflow" and any(map(processor_facts().issuperset, FAST_PROCESSORS))
    return "mixed_bfloat16" if on_processor else "float32"


def tensorflow_gpus() -> list[tuple[int, ...]]:
    """Return the compute capability of each GPU."""
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [tuple(detail.get("compute_capability", (0, 0))) for detail in details]


def jax_gpus() -> list[tuple[int, ...]]:
    """Return the compute capability of each GPU."""
    found = [device for device in jax.devices() if device.platform == "gpu"]
    return [tuple(map(int, str(getattr(device, "compute_capability", "0.0")).split("."))) for device in found]


def torch_gpus() -> list[tuple[int, ...]]:
    """Return the compute capability of each GPU."""
    return [torch.cuda.get_device_capability(number) for number in range(torch.cuda.device_count())]


GPUS = {"tensorflow": tensorflow_gpus, "jax": jax_gpus, "torch": torch_gpus}


def processor_facts() -> set[str]:
    """Return vendor and instruction sets of the processor as Linux names them; an empty set on other systems."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    words = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "vendor_id")))
    return set().union(*words)


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model of the same weights that computes in float32; the model itself if it does."""
    if all(layer.compute_dtype in (None, "float32") or not layer.weights for layer in model.layers):
        return model

    def exact(layer):
        config = layer.get_config()
        return type(layer).from_config(
            config | {"dtype": "float32"} if "float16" in str(config.get("dtype")) else config
        )

    copy = keras.models.clone_model(uncompiled(model), clone_function=exact)  # else Keras copies the optimizer too
    copy.set_weights(model.get_weights())
    return copy


def uncompiled(model: keras.Model) -> keras.Model:
    """Return a model of the same layers without optimizer, loss and metrics; the model itself if it has none."""
    if model.compiled and getattr(model, "inputs", None):
        return keras.Model(model.input, model.output, name=model.name)
    return model
