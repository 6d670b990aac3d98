"""HRNet: parallel branches from high to low resolution that exchange features throughout the network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import add_to_shortcut, basic_branch, block_sequence, bottleneck_branch, zip_stages
from kzoo.nn.layers import act, conv_norm_act, cropped, named_output, scope, upsample
from kzoo.nn.naming import Rule, from_zero, logits_to

WANG_2021 = Paper(
    "Wang, Jingdong and Sun, Ke and Cheng, Tianheng and Jiang, Borui and Deng, Chaorui and Zhao, Yang and Liu, "
    "Dong and Mu, Yadong and Tan, Mingkui and Wang, Xinggang and Liu, Wenyu and Xiao, Bin",
    2021,
    "Deep High-Resolution Representation Learning for Visual Recognition",
    "https://arxiv.org/abs/1908.07919",
    "TPAMI",
)


def exchange(match: re.Match, layers: Sequence[str]) -> str:
    """Return timm's name of a fusion layer, a sequence of pairs where it leads to a lower resolution."""
    to, origin, kind, number = match.groups()
    pair = f".{int(number) - 1}" if int(to) > int(origin) else ""
    return f".fuse_layers.{to}.{origin}{pair}.{int(kind == 'norm')}"


KEY_MAPPING = (
    Rule(r"^stem\.", ""),
    Rule(r"^stage1\.block(\d+)", r"layer1.\1"),
    Rule(r"^head\.branch(\d+)", r"incre_modules.\1.0"),
    Rule(r"^head\.down(\d+)\.conv1$", from_zero("downsamp_modules.{}.0")),
    Rule(r"^head\.down(\d+)\.norm1$", from_zero("downsamp_modules.{}.1")),
    Rule(r"^head\.conv1$", "final_layer.0"),
    Rule(r"^head\.norm1$", "final_layer.1"),
    Rule(r"\.shortcut\.conv1$", ".downsample.0"),
    Rule(r"\.shortcut\.norm1$", ".downsample.1"),
    Rule(r"^stage2\.branch0\.conv1$", "transition1.0.0"),
    Rule(r"^stage2\.branch0\.norm1$", "transition1.0.1"),
    Rule(r"^stage(\d+)\.branch(\d+)\.conv1$", from_zero("transition{}.{}.0.0")),
    Rule(r"^stage(\d+)\.branch(\d+)\.norm1$", from_zero("transition{}.{}.0.1")),
    Rule(r"\.to(\d+)\.from(\d+)\.(conv|norm)(\d)$", exchange),
    Rule(r"\.module(\d+)\.branch(\d+)\.block(\d+)", r".\1.branches.\2.\3"),
    Rule(r"\.module(\d+)", r".\1"),
    Rule(r"norm(\d)$", r"bn\1"),
    logits_to("classifier"),
)

SMALL = {"depths": (1, 2, 2, 2), "modules": (1, 1, 1, 1), "bottleneck_width": 32}
SMALL_V2 = {"depths": (2, 2, 2, 2), "modules": (1, 1, 3, 2)}


@register_model("hrnet_w18_small", WANG_2021, 13_187_464, width=16, **SMALL)
@register_model("hrnet_w18_small_v2", WANG_2021, 15_597_464, width=18, **SMALL_V2)
@register_model("hrnet_w18", WANG_2021, 21_299_004, width=18)
@register_model("hrnet_w32", WANG_2021, 41_232_680, width=32)
@register_model("hrnet_w48", WANG_2021, 77_469_864, width=48)
@dataclass(frozen=True)
class HRNet:
    """Branches of residual blocks, one for each resolution; every stage adds a branch at half the lowest resolution.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The highest-resolution output
    of stage n is named `stage<n>`; the outputs of the last stage are `scale1` (stride 4), `scale2` (stride 8), and so
    on. An axis may have any size.

    Args:
        width: channels of the highest-resolution branch; each other branch has twice those of the one before it.
        depths: number of residual blocks in the first stage, and in each branch of each module of the later ones.
        modules: number of exchanges between the branches in each stage; the first has one branch and no exchange.
        filters: bottleneck channels of the block that ends each branch; its output has 4 times as many.
        bottleneck_width: bottleneck channels of the blocks of the first stage.
        stem_width: filters of the two first convolutions, each at stride 2.
        units: filters of the last, pointwise convolution.
        kernel: kernel size of the convolutions in the blocks; 1-D inputs often want more than 3.

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length.
    """

    width: int
    depths: tuple[int, ...] = (4, 4, 4, 4)
    modules: tuple[int, ...] = (1, 1, 4, 3)
    filters: tuple[int, ...] = (32, 64, 128, 256)
    bottleneck_width: int = 64
    stem_width: int = 64
    units: int = 2048
    kernel: int = 3

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
            x = conv_norm_act(x, self.stem_width, 3, stride=2)
        maps, table = [], zip_stages(depths=self.depths, modules=self.modules, filters=self.filters)
        for stage, (depth, modules, _) in enumerate(table, start=1):
            with scope(f"stage{stage}"):
                maps = self.stage(maps, depth, modules) if maps else self.first_stage(x, depth)
            maps[0] = named_output(maps[0], f"stage{stage}")
        return self.head([named_output(x, f"scale{n}") for n, x in enumerate(maps, start=1)])

    def first_stage(self, x, depth: int) -> list:
        return [block_sequence(x, self.bottleneck, [(self.bottleneck_width,)] * depth)]

    def stage(self, maps: list, depth: int, modules: int) -> list:
        maps = self.transition(maps)
        for n in range(modules):
            with scope(f"module{n}"):
                maps = [self.branch(x, branch, depth) for branch, x in enumerate(maps)]
                maps = [self.exchange(maps, branch) for branch in range(len(maps))]
        return maps

    def transition(self, maps: list) -> list:
        """Add a branch of half the lowest resolution; project the first branch to its channels where they differ."""
        first, *others = maps
        if first.shape[-1] != self.width:
            with scope("branch0"):
                first = conv_norm_act(first, self.width, 3)
        with scope(f"branch{len(maps)}"):
            coarser = conv_norm_act(maps[-1], self.width * 2 ** len(maps), 3, stride=2)
        return [first, *others, coarser]

    def branch(self, x, branch: int, depth: int):
        with scope(f"branch{branch}"):
            return block_sequence(x, self.basic_block, [()] * depth)

    def basic_block(self, x):
        return add_to_shortcut(x, basic_branch(x, x.shape[-1], self.kernel))

    def exchange(self, maps: list, to: int):
        """Fuse all branches: their sum at the resolution and with the channels of one of them."""
        terms = []
        for origin, x in enumerate(maps):
            with scope(f"to{to}.from{origin}"):
                terms.append(coarsened(x, maps[to], to - origin) if origin < to else refined(x, maps[to], origin - to))
        return act(keras.layers.add(terms))

    def bottleneck(self, x, inner: int):
        return add_to_shortcut(x, bottleneck_branch(x, 4 * inner, inner, self.kernel))

    def head(self, maps: list):
        """Downsample from the highest resolution to the lowest, adding each branch on the way."""
        found = None
        with scope("head"):
            for n, (x, inner) in enumerate(zip(maps, self.filters, strict=True)):
                with scope(f"branch{n}"):
                    x = self.bottleneck(x, inner)
                if found is not None:
                    with scope(f"down{n}"):
                        x = keras.layers.add([x, conv_norm_act(found, x.shape[-1], 3, stride=2, use_bias=True)])
                found = x
            return conv_norm_act(found, self.units, 1, use_bias=True)


def coarsened(x, like, steps: int):
    """Downsample by strided convolutions, of which the last has the channels of `like`."""
    for _ in range(steps - 1):
        x = conv_norm_act(x, x.shape[-1], 3, stride=2)
    return conv_norm_act(x, like.shape[-1], 3, stride=2, activation=None)


def refined(x, like, steps: int):
    """Project to the channels of `like` and upsample to its resolution; the identity where both agree."""
    if steps == 0:
        return x
    return cropped(upsample(conv_norm_act(x, like.shape[-1], 1, activation=None), 2**steps), like)
