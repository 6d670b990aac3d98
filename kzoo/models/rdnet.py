"""RDNet: DenseNet revisited, dense concatenation with ConvNeXt-like blocks and wide growth rates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import block_sequence, effective_squeeze_excite, layer_scale, patches, rising_rates, stage_sequence
from kzoo.nn.layers import dense, depthwise_conv, drop_path, global_avg_pool, layer_norm, scope
from kzoo.nn.naming import STEM_SEQUENCE, Rule, logits_to

KIM_2024 = Paper(
    "Kim, Donghyun and Heo, Byeongho and Han, Dongyoon",
    2024,
    "DenseNets Reloaded: Paradigm Shift Beyond ResNets and ViTs",
    "https://arxiv.org/abs/2403.19588",
    "ECCV",
)


def place_in_stage(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name, where a stage is one sequence: its transition, if any, and its blocks."""
    stage = int(match["stage"]) - 1
    if match["block"] is None:
        return f"dense_stages.{stage}.{0 if match['layer'] == 'norm1' else 1}"
    return f"dense_stages.{stage}.{2 if stage else 0}.dense_block{match['block']}.{match['layer']}"


KEY_MAPPING = (
    *STEM_SEQUENCE,
    Rule(r"^stage(?P<stage>\d+)\.(block(?P<block>\d+)|step)\.(?P<layer>.*)$", place_in_stage),
    Rule(r"\.dwconv1$", ".layers.layers.0"),
    Rule(r"(block\d+)\.norm1$", r"\1.layers.layers.1"),
    Rule(r"\.dense1$", ".layers.layers.2"),
    Rule(r"\.dense2$", ".layers.layers.4"),
    Rule(r"\.ese\.conv1$", ".layers.layers.5.fc"),
    Rule(r"\.scale1$", ".gamma"),
    Rule(r"^head\.norm1$", "head.norm"),
    logits_to("head.fc"),
)


@register_model("rdnet_tiny", KIM_2024, 23_863_008)
@register_model(
    "rdnet_base",
    KIM_2024,
    87_451_096,
    filters=(96, 128, *(168,) * 7, 336, 336),
    depths=(3,) * 11,
    strides=(1, 2, 2, *(1,) * 6, 2, 1),
    gated=(False, False, *(True,) * 9),
    stem_width=120,
)
@dataclass(frozen=True)
class RDNet:
    """Patch embedding, then stages of blocks that see the channels of all blocks before them in their stage.

    Maps a feature map to a vector. The output of stage n, the concatenation of its input and of its blocks, is named
    `stage<n>`.

    Args:
        filters: growth rate of each stage: channels that each of its blocks adds.
        depths: number of blocks in each stage.
        strides: stride of the transition before each stage; the first stage has none, and its entry is ignored.
        gated: whether the blocks of each stage end in effective squeeze-and-excitation.
        stem_width: filters of the stem.
        patch: patch size: kernel size and stride of the stem.
        kernel: kernel size of the depthwise convolutions.
        expansion: hidden channels of a block as a multiple of its input channels, rounded down to a multiple of 8.
        compression: output channels of a transition as a fraction of its input's, rounded down to a multiple of 8.
        layer_scale: initial value of layer scale on the channels that a block adds; 0 for none.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if `filters`, `depths`, `strides` and `gated` differ in length.
    """

    filters: tuple[int, ...] = (64, 104, 128, 128, 128, 128, 224)
    depths: tuple[int, ...] = (3, 3, 3, 3, 3, 3, 3)
    strides: tuple[int, ...] = (1, 2, 2, 1, 1, 1, 2)
    gated: tuple[bool, ...] = (False, False, True, True, True, True, True)
    stem_width: int = 64
    patch: int = 4
    kernel: int = 7
    expansion: float = 4
    compression: float = 0.5
    layer_scale: float = 1e-6
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = layer_norm(patches(x, self.stem_width, self.patch))
        rates = rising_rates(self.drop_path, self.depths)
        strides = (None, *self.strides[1:])  # no transition before the first stage
        x = stage_sequence(x, self.stage, strides=strides, filters=self.filters, gated=self.gated, drop_rates=rates)
        with scope("head"):
            return layer_norm(global_avg_pool(x))

    def stage(self, x, stride: int | None, filters: int, gated: bool, drop_rates: Sequence[float]):
        if stride:
            with scope("step"):
                x = self.step(x, stride)
        return block_sequence(x, self.block, [(filters, gated, drop_rate) for drop_rate in drop_rates])

    def step(self, x, stride: int):
        return patches(layer_norm(x), int(x.shape[-1] * self.compression / 8) * 8, stride)

    def block(self, x, filters: int, gated: bool, drop_rate: float):
        y = layer_norm(depthwise_conv(x, self.kernel))
        y = dense(y, int(x.shape[-1] * self.expansion / 8) * 8, "gelu")
        y = dense(y, filters)
        if gated:
            y = effective_squeeze_excite(y)
        return keras.layers.concatenate([x, drop_path(layer_scale(y, self.layer_scale), drop_rate)])
