"""NFNet: normaliser-free ResNets, with scaled weight standardisation in place of batch normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import IMAGENET, TENSORFLOW, Paper, Reference, lookup, register_model
from kzoo.nn.blocks import divisible, efficient_channel_attention, rising_rates, squeeze_excite, stages
from kzoo.nn.layers import act, avg_pool, drop_path, max_pool, scope, skip_gain, standardized_conv
from kzoo.nn.naming import Rule, from_zero, logits_to

BROCK_2021 = Paper(
    "Brock, Andrew and De, Soham and Smith, Samuel L. and Simonyan, Karen",
    2021,
    "High-Performance Large-Scale Image Recognition Without Normalization",
    "https://arxiv.org/abs/2102.06171",
    "ICML",
)
BROCK_2021B = Paper(
    "Brock, Andrew and De, Soham and Smith, Samuel L.",
    2021,
    "Characterizing signal propagation to close the performance gap in unnormalized ResNets",
    "https://arxiv.org/abs/2101.08692",
    "ICLR",
)

# 1 over the standard deviation of the activation of a standard normal variable, as in the authors' code.
GAINS = {"relu": 1.7139588594436646, "silu": 1.7881293296813965, "gelu": 1.7015043497085571}

KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "stem.conv", where=r"^stem\.conv\."),
    Rule(r"(block\d+)\.conv3$", r"\1.conv2b", where=r"\.conv2b\."),
    Rule(r"(block\d+)\.conv4$", r"\1.conv3"),
    Rule(r"\.se\.conv(\d)$", r".attn_last.fc\1"),
    Rule(r"\.eca\.conv1$", ".attn_last.conv"),
    Rule(r"\.skip1$", ""),  # a number of the block itself
    Rule(r"\.shortcut\.conv1$", ".downsample.conv"),
    Rule(r"^stage(\d)\.block(\d+)", from_zero("stages.{}.{}")),
    Rule(r"^head\.conv1$", "final_conv"),
    logits_to("head.fc"),
)

AT_192, AT_256 = Reference((192, 192, 3), 1000), Reference((256, 256, 3), 1000)
TENSORFLOW_192 = AT_192._replace(dialect=TENSORFLOW)
TENSORFLOW_224 = IMAGENET._replace(dialect=TENSORFLOW)
F0, F1 = {"depths": (1, 2, 6, 3)}, {"depths": (2, 4, 12, 6)}
LIGHT = F0 | {"bottleneck": 1 / 4, "group_width": 64, "expansion": 1.5, "activation": "silu"}
RESNET = {"filters": (256, 512, 1024, 2048), "bottleneck": 1 / 4, "group_width": 0, "spatial_convs": 1, "se_ratio": 0.0}
RESNET |= {"stem": "conv7", "stem_width": 64, "expansion": 0.0, "activation": "relu"}


@register_model("nf_resnet26", BROCK_2021B, 15_995_176, depths=(2, 2, 2, 2), **RESNET)
@register_model("nf_resnet50", BROCK_2021B, 25_557_032, AT_256, depths=(3, 4, 6, 3), **RESNET)
@register_model("nfnet_f0", BROCK_2021, 71_489_272, AT_192, **F0)
# The authors' own weights are for this form.
@register_model("dm_nfnet_f0", BROCK_2021, 71_489_284, TENSORFLOW_192, scaled_act=True, skip_init=True, **F0)
@register_model("dm_nfnet_f1", BROCK_2021, 132_634_256, TENSORFLOW_224, scaled_act=True, skip_init=True, **F1)
@register_model("nfnet_l0", BROCK_2021, 35_074_488, se_ratio=1 / 4, **LIGHT)
@register_model("eca_nfnet_l0", BROCK_2021, 24_143_924, se_ratio=0.0, eca=True, **LIGHT)
@dataclass(frozen=True)
class NFNet:
    """Pre-activation residual network without normalisation.

    Each block divides its input by its standard deviation at initialisation: the variance is 1 after a transition block
    and grows by `alpha ** 2` with each further block. Maps a feature map to one whose spatial axes are divided by
    `2 ** (len(depths) + 1)`. The output of stage n is named `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        filters: output channels of each stage.
        bottleneck: bottleneck channels as a fraction of the stage's channels.
        group_width: channels of one group of these convolutions, 0 for no groups.
        spatial_convs: number of spatial convolutions in each block.
        se_ratio: squeeze-and-excitation ratio, 0 for none.
        eca: efficient channel attention at the end of each branch.
        stem: "quad" (four 3x3 convolutions) or "conv7" (that of ResNet).
        stem_width: filters of the stem's last convolution.
        expansion: channels of a convolution after the last stage, as a multiple of its filters, 0 for none.
        activation: "gelu", "silu" or "relu".
        alpha: factor of the residual branches.
        scaled_act: variance-preserving gain on the activations; otherwise on all kernels.
        skip_init: SkipInit, a learned scalar initialised to 0 that scales each branch; otherwise the gains of its last
            kernels are initialised to 0.
        kernel: kernel size of the spatial convolutions of the blocks; 1-D inputs often want more than 3.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: for an unknown stem or activation, or filters and depths that differ in length.
    """

    depths: tuple[int, ...]
    filters: tuple[int, ...] = (256, 512, 1536, 1536)
    bottleneck: float = 0.5
    group_width: int = 128
    spatial_convs: int = 2
    se_ratio: float = 0.5
    eca: bool = False
    stem: str = "quad"
    stem_width: int = 128
    expansion: float = 2.0
    activation: str = "gelu"
    alpha: float = 0.2
    scaled_act: bool = False
    skip_init: bool = False
    kernel: int = 3
    drop_path: float = 0.0

    def __call__(self, x):
        stem = lookup("stem", self.stem, {"quad": self.quad_stem, "conv7": self.conv7_stem})
        with scope("stem"):
            x = stem(x)
        x = stages(
            x,
            self.block,
            depths=self.depths,
            strides=(1,) + (2,) * (len(self.depths) - 1),
            filters=self.filters,
            scales=input_stds(self.depths, self.alpha),
            drop_rates=rising_rates(self.drop_path, self.depths),
        )
        with scope("head"):
            x = self.conv(x, int(self.filters[-1] * self.expansion), 1) if self.expansion else x
        return self.act(x)

    def quad_stem(self, x):
        for part, stride in ((8, 2), (4, 1), (2, 1)):
            x = self.act(self.conv(x, self.stem_width // part, 3, stride=stride))
        return self.conv(x, self.stem_width, 3, stride=2)

    def conv7_stem(self, x):
        return max_pool(self.conv(x, self.stem_width, 7, stride=2), 3, stride=2)

    def block(self, x, stride: int, filters: int, input_std: float, drop_rate: float):
        active = scaled(self.act(x), 1 / input_std)
        y = self.attention(self.branch(active, filters, stride))
        y = skip_gain(y) if self.skip_init else y
        if stride > 1 or x.shape[-1] != filters:
            with scope("shortcut"):
                x = self.conv(avg_pool(active, stride) if stride > 1 else active, filters, 1)
        return keras.layers.add([x, drop_path(scaled(y, self.alpha), drop_rate)])

    def branch(self, x, filters: int, stride: int):
        inner = divisible(filters * self.bottleneck)
        groups = max(1, inner // self.group_width) if self.group_width else 1
        x = self.act(self.conv(x, inner, 1))
        for n in range(self.spatial_convs):
            x = self.act(self.conv(x, inner, self.kernel, stride=1 if n else stride, groups=groups))
        return self.conv(x, filters, 1, gain=1.0 if self.skip_init else 0.0)

    def attention(self, x):
        """Channel attention, doubled since its gates are about one half."""
        x = scaled(squeeze_excite(x, self.se_ratio), 2.0) if self.se_ratio else x
        return scaled(efficient_channel_attention(x), 2.0) if self.eca else x

    def act(self, x):
        x = act(x, self.activation)
        return scaled(x, self.gain) if self.scaled_act else x

    def conv(self, x, filters: int, kernel: int, *, stride: int = 1, groups: int = 1, gain: float = 1.0):
        factor = 1.0 if self.scaled_act else self.gain
        options = {"stride": stride, "groups": groups, "use_bias": True, "gain": gain, "factor": factor}
        return standardized_conv(x, filters, kernel, **options)

    @property
    def gain(self) -> float:
        return lookup("activation", self.activation, GAINS)


def scaled(x, factor: float):
    # A layer: Keras 3.15 takes the product of a number and a feature map for a sparse tensor.
    return keras.layers.Rescaling(factor)(x)


def input_stds(depths: Sequence[int], alpha: float) -> list[tuple[float, ...]]:
    """Return the standard deviation, at initialisation, of the input of each block of each stage."""
    before = (0, *depths[:-1])  # number of blocks since the variance was 1
    blocks = [(last, *range(1, depth)) for last, depth in zip(before, depths, strict=True)]
    return [tuple((1 + count * alpha**2) ** 0.5 for count in counts) for counts in blocks]
