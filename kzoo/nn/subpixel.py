"""Sub-pixel upsampling (pixel shuffle, depth to space) of feature maps of any rank, as a Keras layer.

This module imports Keras eagerly; others import it when a network is built or loaded.
"""

import math

import keras


@keras.saving.register_keras_serializable("kzoo")
class PixelShuffle(keras.layers.Layer):
    """Rearrange groups of channels to positions: each position becomes a block of them.

    Shi et al., 2016, https://arxiv.org/abs/1609.05158. The channels of an output position lie apart by the size of a
    block, as in PyTorch's `PixelShuffle`; Keras's `depth_to_space` has them side by side.

    Args:
        size: positions of a block along each spatial axis.
    """

    def __init__(self, size: tuple[int, ...], **options):
        super().__init__(**options)
        self.size = tuple(size)

    def get_config(self) -> dict:
        return super().get_config() | {"size": self.size}

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        grown = [have and have * factor for have, factor in zip(sizes, self.size, strict=True)]
        return (batch, *grown, channels // math.prod(self.size))

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def call(self, x):
        ops, rank = keras.ops, len(self.size)
        batch, *sizes, channels = ops.shape(x)
        x = ops.reshape(x, (batch, *sizes, channels // math.prod(self.size), *self.size))
        pairs = [axis for n in range(1, rank + 1) for axis in (n, n + rank + 1)]
        x = ops.transpose(x, (0, *pairs, rank + 1))
        grown = [have * factor for have, factor in zip(sizes, self.size, strict=True)]
        return ops.reshape(x, (batch, *grown, channels // math.prod(self.size)))
