"""Initializers of hand-crafted filter banks: Sobel, Laplacian, Gabor, difference of Gaussians, sinc, detectors."""

import keras

from kzoo.nn import filters


@keras.saving.register_keras_serializable("kzoo")
class ImageBank(keras.initializers.Initializer):
    """The kernels of `kzoo.nn.filters.bank`, for a convolution of images with one channel.

    Args:
        names: keys of `kzoo.nn.filters.BANKS`.
    """

    def __init__(self, names: tuple[str, ...]):
        self.names = tuple(names)

    def get_config(self) -> dict:
        return {"names": list(self.names)}

    def __call__(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(filters.bank(self.names).reshape(shape), dtype)


@keras.saving.register_keras_serializable("kzoo")
class SincBank(keras.initializers.Initializer):
    """The kernels of `kzoo.nn.filters.sinc`, for a convolution of signals with one channel.

    Args:
        sample_rate: samples per second.
        low: lower cut-off of the first band, in hertz.
        high: upper cut-off of the last; None for half the sample rate.
    """

    def __init__(self, sample_rate: int, low: float, high: float | None = None):
        self.sample_rate, self.low, self.high = sample_rate, low, high

    def get_config(self) -> dict:
        return {"sample_rate": self.sample_rate, "low": self.low, "high": self.high}

    def __call__(self, shape, dtype=None):
        kernels = filters.sinc(shape[-1], shape[0], self.sample_rate, self.low, self.high)
        return keras.ops.convert_to_tensor(kernels, dtype)


@keras.saving.register_keras_serializable("kzoo")
class DetectorBank(keras.initializers.Initializer):
    """The kernels of `kzoo.nn.filters.detectors`, the same in every input channel.

    Args:
        sizes: kernel sizes.
    """

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = tuple(sizes)

    def get_config(self) -> dict:
        return {"sizes": list(self.sizes)}

    def __call__(self, shape, dtype=None):
        return keras.ops.broadcast_to(keras.ops.convert_to_tensor(filters.detectors(self.sizes), dtype), shape)
