"""Heads: from a feature map to the outputs of a network, one vector an example or one at each position."""

from collections.abc import Callable

from kzoo.core.lazy import keras
from kzoo.nn.graph import calls
from kzoo.nn.layers import Size, global_avg_pool, named_output, per_axis, ranked
from kzoo.nn.receptive_field import views_in

KEEPING = "tcn, fcn, resnet_tsc or inceptiontime"  # networks whose feature maps have the size of the input


def pooled(x, num_outputs: int):
    """Global average pooling of a feature map, then one number for each output, (batch, outputs).

    With `num_outputs` 0 it returns the feature vector. An architecture with a classifier of its own has a method
    `logits` of the same arguments.
    """
    return readout(global_avg_pool(x) if x.ndim > 2 else x, num_outputs)


def positions(x, num_outputs: int):
    """One number for each output at each position of a feature map, (batch, length, outputs) of a series.

    With `num_outputs` 0 it returns the feature map. An architecture that reduces its feature map to a vector has a
    method `feature_map` that does not; one with a head of its own has a method `output_map` of the feature map, the
    input and the number of outputs, which may return more positions than the input has; a decoder has a method
    `outputs` from the input, and the number of outputs, to outputs at all its positions.
    """
    return readout(x, num_outputs)


def frames(x, num_outputs: int):
    """One number for each output at each position of a feature map that need not be those of the input.

    (batch, frames, outputs) of a signal of as many frames as the strides of the network leave: what connectionist
    temporal classification aligns with a transcript. With `num_outputs` 0 it returns the feature map.

    Raises:
        ValueError: for a vector, in which no frames are left.
    """
    if x.ndim < 3:
        raise ValueError("head='frames' needs a network that leaves frames, but this one ends in one vector an example")
    return readout(x, num_outputs)


def readout(x, num_outputs: int):
    """Dense layer in float32 on the last axis; with 0 outputs the features themselves."""
    if num_outputs == 0:
        return named_output(x, "features")
    return keras.layers.Dense(num_outputs, dtype="float32", name="logits")(x)


class Restorer:
    """Mixin: an architecture whose own head, `output_map`, returns an image or a series, which is all it is for."""

    heads = ("positions", "pooled")
    only_published = True


def conv_readout(x, num_outputs: int, kernel: Size = 3, *, use_bias: bool = True):
    """Convolution in float32 to one number for each output at each position, for heads of an architecture's own."""
    return ranked("Conv", x)(
        num_outputs,
        per_axis(x, kernel),
        padding="same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        dtype="float32",
        name="logits",
    )(x)


def check_same_channels(inputs, num_outputs: int) -> None:
    """Raise a ValueError for outputs that cannot be added to the input, or subtracted from it."""
    if inputs.shape[-1] != num_outputs:
        raise ValueError(
            f"the network corrects its input: num_classes must be the {inputs.shape[-1]} channels of the input, "
            f"got {num_outputs}"
        )


HEADS: dict[str, Callable] = {"pooled": pooled, "positions": positions, "frames": frames}


def check_keeps_positions(name: str, inputs, features) -> None:
    """Raise a ValueError that says the stride of a network whose feature map has not the positions of the input.

    Args:
        name: of the network.
        inputs: symbolic input, (batch, ..., channels) or token ids (batch, length), of known sizes.
        features: what the network makes of it.
    """
    before, after = inputs.shape[1 : max(inputs.ndim - 1, 2)], features.shape[1:-1]
    if before == after:
        return
    left = f"{' x '.join(map(str, after))} of {' x '.join(map(str, before))} positions are left"
    reason = f"has stride {strides(inputs, features)}, {left}" if after else "ends in one vector an example"
    raise ValueError(f"{name} {reason}; head='positions' needs a network that keeps them all, such as {KEEPING}")


def strides(inputs, features) -> str:
    """Return the cumulative stride of a feature map in words: "32", or "2 x 1" where axes differ."""
    found = calls(keras.Model(inputs, features))
    view = views_in(found, inputs.shape[1:])[found[-1].targets[0]]
    steps = [None] if view is None else view.field().stride
    words = ["unknown" if step is None else f"{step:g}" for step in steps]
    return " x ".join(words if len(set(words)) > 1 else words[:1])
