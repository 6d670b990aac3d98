"""LTSF-Linear: linear layers from the look-back to the horizon, which every other forecaster has to beat."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import repeated_ends
from kzoo.nn.layers import avg_pool, flatten, named_output

ZENG_2023 = Paper(
    "Zeng, Ailing and Chen, Muxi and Zhang, Lei and Xu, Qiang",
    2023,
    "Are Transformers Effective for Time Series Forecasting?",
    "https://arxiv.org/abs/2205.13504",
    "AAAI",
)
ETTH1 = Reference((336, 7), 96 * 7, PYTORCH)


# Computed from the paper's code: two layers of look-back x horizon weights and horizon biases; of look-back 96 and
# horizon 720 they are 139,680, and the paper's table of costs has 139.7 K.
@register_model("dlinear", ZENG_2023, 64_704, ETTH1, task="forecasting", dims=(1,))
@dataclass(frozen=True)
class DLinear:
    """A moving average and what it leaves, each mapped from the look-back to the horizon by a linear layer.

    Maps a feature map (batch, length, channels) to the rest and the average, (batch, length, 2 channels), which is
    named `stage1`. All channels share the two layers, and each is forecast from itself alone.

    Args:
        kernel: steps of the moving average, an odd number; at both ends the first and the last value are repeated.

    Raises:
        ValueError: for an even kernel, an input of unknown length, or outputs that are not a multiple of the channels.
    """

    kernel: int = 25
    only_published = True
    channelwise = True

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number of steps, got {self.kernel}")

    def __call__(self, x):
        longer = repeated_ends(x, before=self.kernel // 2, after=self.kernel // 2)
        trend = avg_pool(longer, self.kernel, stride=1, padding="valid")
        return named_output(keras.ops.concatenate([x - trend, trend], axis=-1), "stage1")

    def logits(self, x, outputs: int):
        """Return the sum of both forecasts, (batch, horizon x channels)."""
        rest, trend = keras.ops.split(x, 2, axis=-1)
        steps = horizon("dlinear", rest, outputs)
        return added(forecast(rest, steps, "logits.rest"), forecast(trend, steps, "logits.trend"))


# Computed likewise: one layer.
@register_model("nlinear", ZENG_2023, 32_352, ETTH1, task="forecasting", dims=(1,))
@dataclass(frozen=True)
class NLinear:
    """A linear layer from the look-back to the horizon, of the differences to the last value, which is added again.

    Maps a feature map (batch, length, channels) to itself, named `stage1`. All channels share the layer, and each is
    forecast from itself alone.

    Raises:
        ValueError: for an input of unknown length, or outputs that are not a multiple of the channels.
    """

    only_published = True
    channelwise = True

    def __call__(self, x):
        return named_output(x, "stage1")

    def logits(self, x, outputs: int):
        """Return the forecast, (batch, horizon x channels)."""
        last = x[:, -1:]
        differences = keras.layers.Subtract(dtype="float32")([x, last])
        return added(forecast(differences, horizon("nlinear", x, outputs), "logits"), last)


def horizon(name: str, x, outputs: int) -> int:
    """Return the steps of the forecast for a number of outputs.

    Raises:
        ValueError: if the outputs are not as many for each channel.
    """
    *_, channels = x.shape
    if outputs % channels:
        raise ValueError(
            f"{name} forecasts each of the {channels} channels: num_classes must be horizon x {channels}, got {outputs}"
        )
    return outputs // channels


def forecast(x, steps: int, name: str):
    """Apply a linear layer along time, (batch, length, channels) to (batch, steps, channels), initialised as PyTorch's.

    Raises:
        ValueError: if the length is not known.
    """
    flatten(x)  # says that a fixed size is needed
    initial = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    layer = keras.layers.Dense(steps, kernel_initializer=initial, dtype="float32", name=name)
    return keras.layers.Permute((2, 1), dtype="float32")(layer(keras.layers.Permute((2, 1), dtype="float32")(x)))


def added(one, other):
    """Return the sum of two forecasts as one vector an example, in float32."""
    return keras.layers.Flatten(dtype="float32")(keras.layers.Add(dtype="float32")([one, other]))
