"""Feature pyramids: the feature maps of an encoder's stages inside another network, and the base of decoders."""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from kzoo.core.lazy import keras
from kzoo.core.registry import MODELS, ModelCard, Reference, lookup
from kzoo.nn.graph import without_values
from kzoo.nn.heads import conv_readout
from kzoo.nn.layers import (
    InputTooSmall,
    Rates,
    cropped,
    extents,
    interpolate_by,
    named_output,
    pad_to_multiple,
    per_axis,
    recording,
    scope,
    written_in,
)

PROBED = {1: 2**12 * 3 * 5 * 7, 2: 2**7 * 3 * 5 * 7}  # positions of an axis, by rank, that most strides divide
SUCH_AS = "networks that have them are resnet34, convnext_tiny or mobilenetv2_100"
ONE_CLASS = Reference((224, 224, 3), 1)  # for which segmentation_models_pytorch is counted
TASK = "segmentation"

Stride = tuple[int, ...]


class Level(NamedTuple):
    """A feature map of a pyramid, with its cumulative stride along each spatial axis."""

    stride: Stride
    map: Any


@functools.cache
def map_strides(architecture: Callable, rank: int) -> dict[str, Stride]:
    """Return the stride of each named feature map of an encoder that divides every axis exactly, in its order."""

    size = PROBED[rank]

    def sizes():
        with recording("") as maps:
            architecture(keras.Input((*(size,) * rank, 3)))
        return {name: tuple(x.shape[1:-1]) for name, x in maps.items() if x.ndim == rank + 2}

    found = without_values(sizes).items()
    exact = {name: shape for name, shape in found if None not in shape and not any(size % left for left in shape)}
    return {name: tuple(size // left for left in shape) for name, shape in exact.items()}


def encoder_card(name: str, x) -> ModelCard:
    """Return the card of an encoder for a feature map; raise a ValueError for an unknown one or another rank."""
    card = lookup("encoder", name, MODELS)
    if x.ndim - 2 not in card.dims:
        raise ValueError(f"encoder {name} takes {card.dims[0]}-D feature maps, got {tuple(x.shape[1:])}")
    return card


def level_names(card: ModelCard, rank: int, deepest: int | None, top: str) -> dict[str, Stride]:
    """Return the name and the stride of the last feature map at each stride of an encoder, from fine to coarse.

    Raises:
        ValueError: for an encoder without stages, or whose stages keep the resolution.
    """
    strides = map_strides(card.architecture, rank)
    if not any(re.match(r"(stage|scale)\d", name) for name in strides):
        raise ValueError(f"encoder {card.name} has no stages whose sizes divide that of the input; {SUCH_AS}")
    if top != "stage":
        lookup(f"map of encoder {card.name}", top, strides)
    last = {stride: name for name, stride in strides.items() if name != "head" or top == "head"}
    last = {stride: name for stride, name in last.items() if deepest is None or max(stride) <= deepest}
    found = {name: stride for stride, name in sorted(last.items())}
    if not found or max(max(found.values())) == 1:
        raise ValueError(f"encoder {card.name} keeps the resolution of its input, so that there is nothing to decode")
    return found


def dilations(strides: dict[str, Stride], limit: int | None, dilate_strided: bool) -> dict[str, Rates]:
    """Return the dilation rates of the stages whose stride is above a limit.

    The strided layers of such a stage keep the rate of the stage before, unless they are dilated like all others.
    """
    table, before = {}, 1
    for name, (stride, *_) in strides.items():
        if limit is not None and stride > limit:
            rate = stride // limit
            table[name] = Rates(rate if dilate_strided else max(1, before // limit), rate)
        before = stride
    return table


def limited(stride: Stride, limit: int | None) -> Stride:
    """Return a stride that is not above a limit."""
    return stride if limit is None else tuple(min(step, limit) for step in stride)


@dataclass(frozen=True)
class Encoder:
    """From a feature map to the pyramid of a registered network's stages; weights are addressed `encoder.*`.

    Attributes:
        name: registered name of the network, with its own hyperparameters.
        output_stride: stride that later stages do not exceed: their strides are replaced by dilation.
        dilate_strided: a layer that gives up its stride is dilated like those that follow it.
        deepest: stride of the coarsest map that is wanted; None for all.
        top: "stage", or "head" for a pyramid that ends with the last convolution before the pooling.
        padded: pad the input with zeros to a multiple of the stride of the coarsest map.
    """

    name: str
    output_stride: int | None = None
    dilate_strided: bool = False
    deepest: int | None = None
    top: str = "stage"
    padded: bool = True

    def __call__(self, x) -> list[Level]:
        card = encoder_card(self.name, x)
        names = level_names(card, x.ndim - 2, self.deepest, self.top)
        self.check_stride(names)
        strides = [limited(stride, self.output_stride) for stride in names.values()]
        self.check_size(x, strides[-1])
        x = pad_to_multiple(x, strides[-1]) if self.padded else x
        rates = dilations(map_strides(card.architecture, x.ndim - 2), self.output_stride, self.dilate_strided)
        with (
            scope("encoder"),
            written_in(card.reference.dialect),
            recording("encoder.", list(names)[-1], rates) as maps,
        ):
            card.architecture(x)
        levels = [Level(stride, maps[name]) for stride, name in zip(strides, names, strict=True)]
        self.check_levels(x, levels)
        return levels

    def check_stride(self, names: dict[str, Stride]) -> None:
        """Raise a ValueError for an output stride that no stage of the encoder has."""
        steps = [max(stride) for stride in names.values()]
        if self.output_stride is not None and self.output_stride not in steps and self.output_stride < steps[-1]:
            raise ValueError(f"output_stride of encoder {self.name} must be one of {steps}, got {self.output_stride}")

    def check_size(self, x, stride: Stride) -> None:
        """Raise `InputTooSmall` for an input smaller than the stride."""
        if any(have is not None and have < step for have, step in zip(extents(x), stride, strict=False)):
            raise InputTooSmall(f"{tuple(x.shape[1:-1])} is smaller than the stride {max(stride)} of {self.name}")

    def check_levels(self, x, levels: Sequence[Level]) -> None:
        """Raise a ValueError if a map has not the size that its stride makes, as when dilation is not possible."""
        for level in levels:
            sizes = zip(x.shape[1:-1], level.map.shape[1:-1], per_axis(x, level.stride), strict=True)
            if any(None not in (have, size) and size != -(-have // step) for have, size, step in sizes):
                raise ValueError(f"encoder {self.name} cannot be dilated to output_stride {self.output_stride}")


class PositionsNet:
    """Base of the networks with outputs at every position of the input.

    Attributes:
        heads: see `kzoo.core.registry.ModelCard.heads`.
        head_kernel: kernel size of the convolution that gives the logits.
    """

    heads: ClassVar[tuple[str, ...]] = ("positions",)
    head_kernel: ClassVar[int] = 1

    def __call__(self, x):
        return self.outputs(x, 0)

    def outputs(self, x, num_outputs: int):
        """Map a feature map to `num_outputs` logits at each of its positions, or to features for 0."""
        y, stride = self.features(x)
        y = conv_readout(y, num_outputs, self.head_kernel) if num_outputs else y
        y = cropped(interpolate_by(y, stride, align_corners=True), x)
        return y if num_outputs else named_output(y, "features")

    def features(self, x) -> tuple[Any, Stride]:
        """Map a feature map, perhaps padded at the ends of its axes, to one before the logits, and its stride."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Decoder(PositionsNet):
    """Base of the networks with an encoder and a decoder.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the encoder's
    stride, and the logits are cut back to its size.

    Args:
        encoder: registered name of the network whose stages are decoded, with its own hyperparameters and framework
            convention.
        output_stride: stride that the encoder's stages do not exceed: strides beyond it are replaced by dilation; None
            for the encoder's own.

    Raises:
        ValueError: for an unknown encoder, one without stages, or one that cannot be dilated.
    """

    encoder: str = "resnet34"
    output_stride: int | None = None

    def features(self, x):
        levels = self.pyramid(x)
        with scope("decoder"):
            return self.decode(levels)

    def pyramid(self, x) -> list[Level]:
        """Return the feature maps of the encoder, from fine to coarse."""
        return Encoder(self.encoder, self.output_stride)(x)

    def decode(self, levels: list[Level]) -> tuple[Any, Stride]:
        """Map a pyramid to one feature map; return it with its stride."""
        raise NotImplementedError


def ratio(coarse: Stride, fine: Stride) -> Stride:
    """Return by how much to upsample from one stride to another."""
    return tuple(a // b for a, b in zip(coarse, fine, strict=True))


def steps_up(levels: Sequence[Level]) -> list[tuple[Stride, Stride]]:
    """Return the steps from the coarsest level to the input's resolution, through all levels.

    Each is its factor of upsampling, 2 where possible, and the stride that it reaches.
    """
    now, steps = levels[-1].stride, []
    for target in [*(level.stride for level in levels[-2::-1]), (1,) * len(now)]:
        while now != target:
            factor = tuple(2 if step % 2 == 0 else step for step in ratio(now, target))
            now = ratio(now, factor)
            steps.append((factor, now))
    return steps


def skips(levels: Sequence[Level]) -> dict[Stride, Any]:
    """Return the feature map at each stride that is finer than the coarsest."""
    return {level.stride: level.map for level in levels[:-1] if level.stride != levels[-1].stride}


def of_last(values: Sequence[int], count: int) -> list[int]:
    """Return the last `count` of these values; the first stands for all that are lacking before it."""
    return [values[0]] * (count - len(values)) + list(values[max(0, len(values) - count) :])
