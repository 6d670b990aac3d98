"""Deterministic operations: the same results in every run, on the same machine and software."""

from kzoo.core.lazy import keras, tf, torch

SWITCHES = {
    "tensorflow": lambda: tf.config.experimental.enable_op_determinism(),
    "torch": lambda: torch.use_deterministic_algorithms(True),
    "jax": lambda: (
        None
    ),  # deterministic on processors; GPUs need XLA_FLAGS=--xla_gpu_deterministic_ops=true from the start
}


def make_deterministic() -> None:
    """Make every operation of this process deterministic; this cannot be undone."""
    SWITCHES[keras.backend.backend()]()
