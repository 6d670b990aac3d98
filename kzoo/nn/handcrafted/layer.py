"""What layers of hand-made features have in common."""

from __future__ import annotations

import keras

from kzoo.nn import receptive_field


class FixedFeatures(keras.layers.Layer):
    """A layer in float32 without weights that a gradient reaches.

    Attributes:
        ARGUMENTS: names of the arguments of its class, which it keeps as attributes of the same names.
    """

    ARGUMENTS: tuple[str, ...] = ()

    def __init__(self, **options):
        super().__init__(trainable=False, **options | {"dtype": "float32"})

    def get_config(self) -> dict:
        given = {key: value for key, value in super().get_config().items() if key not in ("trainable", "dtype")}
        return given | {name: getattr(self, name) for name in self.ARGUMENTS}

    def multiplications(self, given: tuple[int, ...]) -> int:
        """Return the multiplications for one example of a shape, of sums of products alone."""
        return 0

    def view_after(self, call: receptive_field.Call) -> receptive_field.View:
        """Return what the result of a call sees of the network's input: all positions, where it is not said."""
        return receptive_field.everything(call)
