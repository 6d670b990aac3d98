"""ResNet v2: normalise and activate before each convolution, so that the shortcuts carry the signal unchanged."""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.layers import act, batch_norm, conv, dropout, max_pool, scope, tap
from kzoo.lazy import lazy_import
from kzoo.models.resnet import ZAGORUYKO_2016
from kzoo.naming import Rule, from_zero
from kzoo.registry import CIFAR10, Paper, lookup, register_model

keras = lazy_import("keras")

HE_2016B = Paper(
    "He, Zhang, Ren, Sun", 2016, "Identity Mappings in Deep Residual Networks", "https://arxiv.org/abs/1603.05027"
)

STEMS = {
    "conv7": lambda x, width: max_pool(conv(x, width, 7, stride=2, use_bias=False), 3, stride=2),
    "conv3": lambda x, width: conv(x, width, 3, use_bias=False),
}


REFERENCE_NAMES = (
    Rule(r"^stem\.conv1$", "stem.conv"),
    Rule(r"^stage(\d+)\.block(\d+)", from_zero("stages.{}.blocks.{}")),
    Rule(r"\.shortcut\.conv1$", ".downsample.conv"),
    Rule(r"^head\.norm1$", "norm"),
    Rule(r"^logits$", "head.fc"),
)


@register_model("resnetv2_50", HE_2016B, 25_549_352, depths=(3, 4, 6, 3))
@register_model(
    "wrn_28_10",
    ZAGORUYKO_2016,
    36_479_194,
    CIFAR10,
    depths=(4, 4, 4),
    block="basic",
    width=160,
    stem="conv3",
    stem_width=16,
)
@dataclass(frozen=True)
class ResNetV2:
    """Pre-activation residual network, also in its wide form.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)` (by
    `2 ** (len(depths) - 1)` with the "conv3" stem). The output of stage n is named `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        block: "basic" (two convolutions) or "bottleneck" (1, `kernel`, 1; expands channels by 4).
        width: filters of the first stage; each later stage doubles them.
        stem: "conv7" (ImageNet) or "conv3" (CIFAR: keeps the resolution).
        stem_width: filters of the stem.
        kernel: size of the spatial convolutions; signals often want more than 3.
        dropout: fraction dropped between the convolutions of a basic block in training, in [0, 1).

    Raises:
        ValueError: for an unknown block or stem.
    """

    depths: tuple[int, ...]
    block: str = "bottleneck"
    width: int = 64
    stem: str = "conv7"
    stem_width: int = 64
    kernel: int = 3
    dropout: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = lookup("stem", self.stem, STEMS)(x, self.stem_width)
        for stage, depth in enumerate(self.depths, start=1):
            for block in range(depth):
                with scope(f"stage{stage}.block{block}"):
                    stride = 2 if stage > 1 and block == 0 else 1
                    x = self.residual_block(x, self.width * 2 ** (stage - 1), stride)
            x = tap(x, f"stage{stage}")
        with scope("head"):
            return act(batch_norm(x))

    def residual_block(self, x, filters: int, stride: int):
        branches = {"basic": self.basic_branch, "bottleneck": self.bottleneck_branch}
        branch = lookup("block", self.block, branches)
        active = act(batch_norm(x))
        y = branch(active, filters, stride)
        if stride > 1 or x.shape[-1] != y.shape[-1]:
            with scope("shortcut"):
                x = conv(active, y.shape[-1], 1, stride=stride, use_bias=False)
        return keras.layers.add([y, x])

    def basic_branch(self, x, filters: int, stride: int):
        x = conv(x, filters, self.kernel, stride=stride, use_bias=False)
        x = dropout(act(batch_norm(x)), self.dropout)
        return conv(x, filters, self.kernel, use_bias=False)

    def bottleneck_branch(self, x, filters: int, stride: int):
        x = act(batch_norm(conv(x, filters, 1, use_bias=False)))
        x = act(batch_norm(conv(x, filters, self.kernel, stride=stride, use_bias=False)))
        return conv(x, 4 * filters, 1, use_bias=False)
