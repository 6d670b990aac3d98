"""Inception v3: inception modules with factorised convolutions, such as 1x7 followed by 7x1."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, conv_sequence, inception_stem, stage_sequence
from kzoo.nn.layers import avg_pool, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

SZEGEDY_2016 = Paper(
    "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jonathon and Wojna, Zbigniew",
    2016,
    "Rethinking the Inception Architecture for Computer Vision",
    "https://arxiv.org/abs/1512.00567",
    "CVPR",
)

STEM = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
SPLIT = {"conv3": ("1", "2a", "2b"), "double3": ("1", "2", "3a", "3b")}


def layer_of_stem(match: re.Match, layers: Sequence[str]) -> str:
    return f"Conv2d_{STEM[int(match['layer']) - 1]}.{match['kind']}"


def layer_of_split_branch(match: re.Match, layers: Sequence[str]) -> str:
    """Return the reference's name in a branch that ends in a 1x3 and a 3x1 convolution, which share a number."""
    suffix = SPLIT[match["branch"]][int(match["layer"]) - 1]
    return f"branch3x3{'dbl' if match['branch'] == 'double3' else ''}_{suffix}.{match['kind']}"


def module_of_reference(match: re.Match, layers: Sequence[str]) -> str:
    """Return the reference's name of a module: those of the stages are 5b to 5d, 6a to 6e and 7a to 7c."""
    stage, block = int(match[1]), int(match[2])
    return f"Mixed_{stage + 4}{'abcde'[block + (stage == 1)]}"


KEY_MAPPING = (
    Rule(r"^stem\.(?P<kind>conv|norm)(?P<layer>\d)$", layer_of_stem),
    Rule(
        r"(?<=^stage3\.block[12]\.)(?P<branch>conv3|double3)\.(?P<kind>conv|norm)(?P<layer>\d)$", layer_of_split_branch
    ),
    Rule(r"^(stage2\.block0)\.conv3\.(conv|norm)1$", r"\1.branch3x3.\2"),
    Rule(r"^(stage3\.block0)\.conv7\.(conv|norm)(\d)$", r"\1.branch7x7x3_\3.\2"),
    Rule(r"\.point\.(conv|norm)1$", r".branch1x1.\1"),
    Rule(r"\.pool\.(conv|norm)1$", r".branch_pool.\1"),
    Rule(r"\.conv(\d)\.(conv|norm)(\d)$", r".branch\1x\1_\3.\2"),
    Rule(r"\.double(\d)\.(conv|norm)(\d)$", r".branch\1x\1dbl_\3.\2"),
    Rule(r"^stage(\d)\.block(\d)", module_of_reference),
    Rule(r"\.norm$", ".bn"),
    logits_to("fc"),
)
IGNORE_UNEXPECTED = (r"^AuxLogits\.",)  # the auxiliary classifier

PIXELS_299 = Reference((299, 299, 3), 1000, PYTORCH._replace(bn_epsilon=1e-3))


# Without the auxiliary classifier, which torchvision's count, 27,161,264, has in it.
@register_model("inception_v3", SZEGEDY_2016, 23_834_568, PIXELS_299)
@dataclass(frozen=True)
class InceptionV3:
    """Three stages of inception modules: with 5x5, with factorised 7x7 and with split 3x3 convolutions.

    Maps a feature map to one whose spatial axes are divided by about 32. The output of stage n is named `stage<n>`.
    With `scale=False, count_padding=False, dialect="tensorflow"` it is keras.applications' InceptionV3.

    Args:
        width: filters of the stem's third convolution; all others are in proportion.
        scale: learn a scale (gamma) in batch normalisation.
        count_padding: count padded zeros in the average pooling of the modules.
    """

    width: int = 64
    scale: bool = True
    count_padding: bool = True

    def __call__(self, x):
        a, b, c = self.inception_a, self.inception_b, self.inception_c
        with scope("stem"):
            x = inception_stem(x, self.width / 64, self.scale)
        modules = (
            ((a, 32), (a, 64), (a, 64)),
            ((self.reduction_a,), (b, 128), (b, 160), (b, 160), (b, 192)),
            ((self.reduction_b,), (c,), (c,)),
        )
        return stage_sequence(x, self.stage, modules=modules)

    def stage(self, x, modules: Sequence[tuple]):
        return block_sequence(x, self.block, modules)

    def block(self, x, module: Callable, *filters: int):
        return keras.layers.concatenate(module(x, *filters))

    def inception_a(self, x, pooled: int):
        return [
            self.branch("point", x, (64, 1)),
            self.branch("conv5", x, (48, 1), (64, 5)),
            self.branch("double3", x, (64, 1), (96, 3), (96, 3)),
            self.pooled(x, pooled),
        ]

    def reduction_a(self, x):
        return [
            self.branch("conv3", x, (384, 3, 2)),
            self.branch("double3", x, (64, 1), (96, 3), (96, 3, 2)),
            max_pool(x, 3, stride=2, padding="valid"),
        ]

    def inception_b(self, x, inner: int):
        row, column = (inner, (1, 7)), (inner, (7, 1))
        return [
            self.branch("point", x, (192, 1)),
            self.branch("conv7", x, (inner, 1), row, (192, (7, 1))),
            self.branch("double7", x, (inner, 1), column, row, column, (192, (1, 7))),
            self.pooled(x, 192),
        ]

    def reduction_b(self, x):
        return [
            self.branch("conv3", x, (192, 1), (320, 3, 2)),
            self.branch("conv7", x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
            max_pool(x, 3, stride=2, padding="valid"),
        ]

    def inception_c(self, x):
        return [
            self.branch("point", x, (320, 1)),
            self.split_branch("conv3", x, (384, 1)),
            self.split_branch("double3", x, (448, 1), (384, 3)),
            self.pooled(x, 192),
        ]

    def branch(self, name: str, x, *convolutions: tuple):
        with scope(name):
            return self.sequence(x, *convolutions)

    def split_branch(self, name: str, x, *convolutions: tuple):
        with scope(name):
            x = self.sequence(x, *convolutions)
            return keras.layers.concatenate([self.sequence(x, (384, (1, 3))), self.sequence(x, (384, (3, 1)))])

    def pooled(self, x, filters: int):
        return self.branch("pool", avg_pool(x, 3, stride=1, count_padding=self.count_padding), (filters, 1))

    def sequence(self, x, *convolutions: tuple):
        return conv_sequence(x, *convolutions, multiplier=self.width / 64, scale=self.scale)
