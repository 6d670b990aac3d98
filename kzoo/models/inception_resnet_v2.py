"""Inception-ResNet v2: inception modules whose scaled-down outputs are added to their inputs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.inception_v3 import PIXELS_299
from kzoo.nn.blocks import block_sequence, conv_sequence, inception_stem, stage_sequence
from kzoo.nn.layers import act, avg_pool, conv, max_pool, scope
from kzoo.nn.naming import Rule, from_zero, logits_to

SZEGEDY_2017 = Paper(
    "Szegedy, Christian and Ioffe, Sergey and Vanhoucke, Vincent and Alemi, Alexander A.",
    2017,
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "https://arxiv.org/abs/1602.07261",
    "AAAI",
)

STEM = ("1a", "2a", "2b", "3b", "4a")
REDUCTIONS = ("5b", "6a", "7a")


def layer_of_stem(match: re.Match, layers: Sequence[str]) -> str:
    return f"conv2d_{STEM[int(match['layer']) - 1]}.{match['kind']}"


def layer_of_branch(match: re.Match, layers: Sequence[str]) -> str:
    return f".{int(match['layer']) - 1}.{match['kind']}"


KEY_MAPPING = (
    Rule(r"^stem\.(?P<kind>conv|norm)(?P<layer>\d)$", layer_of_stem),
    Rule(r"^head\.(conv|norm)1$", r"conv2d_7b.\1"),
    Rule(r"\.pool\.(conv|norm)1$", r".branch3.1.\1"),
    Rule(r"^((?!stage3\.block0\.).*\.branch0)\.(conv|norm)1$", r"\1.\2"),  # one convolution is not a sequence
    Rule(r"(?<=\.branch\d)\.(?P<kind>conv|norm)(?P<layer>\d)$", layer_of_branch),
    Rule(r"\.conv1$", ".conv2d"),
    Rule(r"^stage(\d)\.block0(?=\.)", lambda match, layers: f"mixed_{REDUCTIONS[int(match[1]) - 1]}"),
    Rule(r"^stage1\.block(\d+)", from_zero("repeat.{}")),
    Rule(r"^stage2\.block(\d+)", from_zero("repeat_1.{}")),
    Rule(r"^stage3\.block10(?=\.)", "block8"),
    Rule(r"^stage3\.block(\d+)", from_zero("repeat_2.{}")),
    Rule(r"\.norm$", ".bn"),
    logits_to("classif"),
)


@register_model("inception_resnet_v2", SZEGEDY_2017, 55_843_464, PIXELS_299)
@dataclass(frozen=True)
class InceptionResNetV2:
    """Three stages, each an inception or reduction module followed by residual inception modules.

    Maps a feature map to one whose spatial axes are divided by about 32. The output of stage n is named `stage<n>`.
    With `scale=False` and `dialect="tensorflow"` it is keras.applications' InceptionResNetV2.

    Args:
        depths: number of residual modules in each stage; the last one of the network is neither scaled nor activated.
        shrinking: factor of the residual branches of each stage.
        width: filters of the stem's third convolution; all others are in proportion.
        scale: learn a scale (gamma) in batch normalisation.

    Raises:
        ValueError: if there are not three `depths`, each with its `shrinking`.
    """

    depths: tuple[int, ...] = (10, 20, 10)
    shrinking: tuple[float, ...] = (0.17, 0.1, 0.2)
    width: int = 64
    scale: bool = True

    def __call__(self, x):
        with scope("stem"):
            x = inception_stem(x, self.width / 64, self.scale)
        x = stage_sequence(
            x,
            self.stage,
            modules=(self.inception_a, self.reduction_a, self.reduction_b),
            branches=(self.block35, self.block17, self.block8),
            depths=self.depths,
            shrinking=self.shrinking,
            last=(False, False, True),
        )
        with scope("head"):
            return self.sequence(x, (1536, 1))

    def stage(self, x, module: Callable, branches: Callable, depth: int, factor: float, last: bool):
        rows = [(branches, factor)] * depth
        if last and rows:
            rows[-1] = (branches, None)
        return block_sequence(x, self.block, [(module,), *rows])

    def block(self, x, branches: Callable, *factor: float | None):
        """Concatenate the branches; with a factor, add their scaled projection to the input."""
        y = keras.layers.concatenate(branches(x))
        if not factor:
            return y
        y = conv(y, x.shape[-1], 1)
        return keras.layers.add([x, y]) if factor == (None,) else act(keras.layers.add([x, factor[0] * y]))

    def inception_a(self, x):
        with scope("pool"):
            pooled = self.sequence(avg_pool(x, 3, stride=1), (64, 1))
        return [*self.branches(x, [(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]), pooled]

    def reduction_a(self, x):
        pooled = max_pool(x, 3, stride=2, padding="valid")
        return [*self.branches(x, [(384, 3, 2)], [(256, 1), (256, 3), (384, 3, 2)]), pooled]

    def reduction_b(self, x):
        pooled = max_pool(x, 3, stride=2, padding="valid")
        branches = [(256, 1), (384, 3, 2)], [(256, 1), (288, 3, 2)], [(256, 1), (288, 3), (320, 3, 2)]
        return [*self.branches(x, *branches), pooled]

    def block35(self, x):
        return self.branches(x, [(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)])

    def block17(self, x):
        return self.branches(x, [(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))])

    def block8(self, x):
        return self.branches(x, [(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))])

    def branches(self, x, *branches: list[tuple]):
        outputs = []
        for n, convolutions in enumerate(branches):
            with scope(f"branch{n}"):
                outputs.append(self.sequence(x, *convolutions))
        return outputs

    def sequence(self, x, *convolutions: tuple):
        return conv_sequence(x, *convolutions, multiplier=self.width / 64, scale=self.scale)
