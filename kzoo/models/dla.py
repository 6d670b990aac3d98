"""DLA: deep layer aggregation, residual blocks as leaves of trees whose nodes fuse features of all depths."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, lookup, register_model
from kzoo.nn.blocks import basic_branch, bottleneck_branch, stage_sequence
from kzoo.nn.layers import act, conv_norm_act, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

YU_2018 = Paper(
    "Yu, Fisher and Wang, Dequan and Shelhamer, Evan and Darrell, Trevor",
    2018,
    "Deep Layer Aggregation",
    "https://arxiv.org/abs/1707.06484",
    "CVPR",
)

SMALL = (64, 128, 256, 512)
COMPACT = (64, 64, 128, 256)
LARGE = (128, 256, 512, 1024)


def level(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a stage: the stem has two levels, counted from 0."""
    return f"level{int(match[1]) + 1}"


KEY_MAPPING = (
    Rule(r"^stem\.(conv|norm)1$", r"base_layer.\1"),
    Rule(r"^stem\.(conv|norm)2$", r"level0.\1"),
    Rule(r"^stem\.(conv|norm)3$", r"level1.\1"),
    Rule(r"\.project\.(conv|norm)1$", r".project.\1"),
    Rule(r"\.root\.conv1$", ".root.weights"),
    Rule(r"\.root\.norm1$", ".root.bn"),
    Rule(r"\.conv$", ".0"),
    Rule(r"\.norm$", ".1"),
    Rule(r"\.weights$", ".conv"),
    Rule(r"\.norm(\d)$", r".bn\1"),
    Rule(r"^stage(\d+)", level),
    logits_to("fc"),
)


@register_model("dla34", YU_2018, 15_742_104, depths=(1, 2, 2, 1), filters=SMALL, block="basic")
@register_model("dla46_c", YU_2018, 1_301_400, depths=(1, 2, 2, 1), filters=COMPACT)
@register_model("dla60", YU_2018, 22_036_632, depths=(1, 2, 3, 1), filters=LARGE)
@register_model("dla60x", YU_2018, 17_352_344, depths=(1, 2, 3, 1), filters=LARGE, groups=32, width_per_group=4)
@register_model("dla102", YU_2018, 33_268_888, depths=(1, 3, 4, 1), filters=LARGE, residual=True)
@dataclass(frozen=True)
class DLA:
    """Three convolutions, then stages that are binary trees of residual blocks.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: height of the tree of each stage, which has 2 to this power residual blocks.
        filters: output channels of each stage.
        block: "basic" (two convolutions) or "bottleneck" (1, `kernel`, 1).
        groups: groups of the middle convolution of a bottleneck, or the largest number that divides them and its
            channels.
        width_per_group: filters of one such group for every 128 filters of the stage.
        residual: residual connection around each aggregation node.
        stem_width: filters of the first two convolutions; the third has twice as many, at stride 2.
        kernel: kernel size of the convolutions in the blocks; 1-D inputs often want more than 3.

    Raises:
        ValueError: for an unknown block, or hyperparameters with one entry per stage that differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...]
    block: str = "bottleneck"
    groups: int = 1
    width_per_group: int = 64
    residual: bool = False
    stem_width: int = 16
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 7)
            x = conv_norm_act(x, self.stem_width, 3)
            x = conv_norm_act(x, 2 * self.stem_width, 3, stride=2)
        sees_input = [stage > 0 for stage in range(len(self.depths))]
        return stage_sequence(x, self.stage, filters=self.filters, depths=self.depths, sees_input=sees_input)

    def stage(self, x, filters: int, depth: int, sees_input: bool):
        # The last root of every tree but the first also sees the input of the tree.
        return self.tree(x, filters, depth, 2, [halved(x)] if sees_input else [])

    def tree(self, x, filters: int, depth: int, stride: int, seen: list):
        """Aggregate two subtrees, or at the lowest level two blocks, and the `seen` feature maps at a root."""
        if depth > 1:
            with scope("tree1"):
                left = self.tree(x, filters, depth - 1, stride, [])
            with scope("tree2"):
                return self.tree(left, filters, depth - 1, 1, [*seen, left])
        with scope("tree1"):
            branch = self.branch(x, filters, stride)
        left = act(keras.layers.add([branch, self.shortcut(x, filters, stride)]))
        with scope("tree2"):
            right = act(keras.layers.add([self.branch(left, filters, 1), left]))
        return self.root([right, left, *seen], filters)

    def branch(self, x, filters: int, stride: int):
        branches = {"basic": self.basic_branch, "bottleneck": self.bottleneck_branch}
        return lookup("block", self.block, branches)(x, filters, stride)

    def basic_branch(self, x, filters: int, stride: int):
        return basic_branch(x, filters, self.kernel, stride=stride)

    def bottleneck_branch(self, x, filters: int, stride: int):
        inner = filters * self.width_per_group * self.groups // 128
        groups = math.gcd(self.groups, inner)
        return bottleneck_branch(x, filters, inner, self.kernel, stride=stride, groups=groups)

    def shortcut(self, x, filters: int, stride: int):
        x = halved(x) if stride > 1 else x
        if x.shape[-1] == filters:
            return x
        with scope("project"):
            return conv_norm_act(x, filters, 1, activation=None)

    def root(self, children: list, filters: int):
        with scope("root"):
            x = conv_norm_act(keras.layers.concatenate(children), filters, 1, activation=None)
        return act(keras.layers.add([x, children[0]]) if self.residual else x)


def halved(x):
    """Max pooling over 2 in ceil mode: an odd axis ends in a window of one position."""
    return max_pool(x, 2, padding="ceil")
