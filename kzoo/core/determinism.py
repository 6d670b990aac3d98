"""The same numbers at every repetition, on the same machine and software."""

from kzoo.core.lazy import keras, tf, torch

SWITCHES = {
    "tensorflow": lambda: tf.config.experimental.enable_op_determinism(),
    "torch": lambda: torch.use_deterministic_algorithms(True),
    "jax": lambda: (
        None
    ),  # deterministic on processors; GPUs need XLA_FLAGS=--xla_gpu_deterministic_ops=true from the start
}


def make_deterministic() -> None:
    """Let every operation of this process add in a fixed order; this cannot be undone."""
    SWITCHES[keras.backend.backend()]()
