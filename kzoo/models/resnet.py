"""ResNet and its variants: ResNeXt, Wide ResNet, SE-ResNet, ECA-ResNet, anti-aliased ResNet, ResNet-D, ResNet-RS."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import CIFAR10, TENSORFLOW, Paper, Reference, lookup, register_model
from kzoo.nn.blocks import efficient_channel_attention, residual_stages, squeeze_excite
from kzoo.nn.layers import act, avg_pool, blur_pool, conv, conv_norm_act, drop_path, max_pool, scope, subsample
from kzoo.nn.naming import Rule, logits_to

HE_2016 = Paper(
    "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
    2016,
    "Deep Residual Learning for Image Recognition",
    "https://arxiv.org/abs/1512.03385",
    "CVPR",
)
XIE_2017 = Paper(
    "Xie, Saining and Girshick, Ross and Dollár, Piotr and Tu, Zhuowen and He, Kaiming",
    2017,
    "Aggregated Residual Transformations for Deep Neural Networks",
    "https://arxiv.org/abs/1611.05431",
    "CVPR",
)
ZAGORUYKO_2016 = Paper(
    "Zagoruyko, Sergey and Komodakis, Nikos",
    2016,
    "Wide Residual Networks",
    "https://arxiv.org/abs/1605.07146",
    "BMVC",
)
HU_2018 = Paper(
    "Hu, Jie and Shen, Li and Sun, Gang",
    2018,
    "Squeeze-and-Excitation Networks",
    "https://arxiv.org/abs/1709.01507",
    "CVPR",
)
HE_2019 = Paper(
    "He, Tong and Zhang, Zhi and Zhang, Hang and Zhang, Zhongyue and Xie, Junyuan and Li, Mu",
    2019,
    "Bag of Tricks for Image Classification with Convolutional Neural Networks",
    "https://arxiv.org/abs/1812.01187",
    "CVPR",
)
ZHANG_2019 = Paper(
    "Zhang, Richard",
    2019,
    "Making Convolutional Networks Shift-Invariant Again",
    "https://arxiv.org/abs/1904.11486",
    "ICML",
)
WANG_2020 = Paper(
    "Wang, Qilong and Wu, Banggu and Zhu, Pengfei and Li, Peihua and Zuo, Wangmeng and Hu, Qinghua",
    2020,
    "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    "https://arxiv.org/abs/1910.03151",
    "CVPR",
)
BELLO_2021 = Paper(
    "Bello, Irwan and Fedus, William and Du, Xianzhi and Cubuk, Ekin D. and Srinivas, Aravind and Lin, Tsung-Yi "
    "and Shlens, Jonathon and Zoph, Barret",
    2021,
    "Revisiting ResNets: Improved Training and Scaling Strategies",
    "https://arxiv.org/abs/2103.07579",
    "NeurIPS",
)
BANBURY_2021 = Paper(
    "Banbury, Colby and others",
    2021,
    "MLPerf Tiny Benchmark",
    "https://arxiv.org/abs/2106.07597",
    "NeurIPS Datasets and Benchmarks",
)


def conv7_stem(x, width: int, use_bias: bool = False):
    """ImageNet stem: a 7x7 convolution and max pooling, total stride 4."""
    return max_pool(conv_norm_act(x, width, 7, stride=2, use_bias=use_bias), 3, stride=2)


def blurred_stem(x, width: int, use_bias: bool = False):
    """ImageNet stem with anti-aliased max pooling."""
    x = max_pool(conv_norm_act(x, width, 7, stride=2, use_bias=use_bias), 3, stride=1)
    return blur_pool(x, 3, stride=2)


def deep_convs(x, width: int, use_bias: bool):
    x = conv_norm_act(x, width // 2, 3, stride=2, use_bias=use_bias)
    x = conv_norm_act(x, width // 2, 3, use_bias=use_bias)
    return conv_norm_act(x, width, 3, use_bias=use_bias)


def deep_stem(x, width: int, use_bias: bool = False):
    """ResNet-C/D stem: three 3x3 convolutions in place of one 7x7, and max pooling; total stride 4."""
    return max_pool(deep_convs(x, width, use_bias), 3, stride=2)


def strided_stem(x, width: int, use_bias: bool = False):
    """ResNet-RS stem: a fourth, strided convolution in place of the max pooling."""
    return conv_norm_act(deep_convs(x, width, use_bias), width, 3, stride=2, use_bias=use_bias)


def conv3_stem(x, width: int, use_bias: bool = False):
    """CIFAR stem: a 3x3 convolution that keeps the resolution."""
    return conv_norm_act(x, width, 3, use_bias=use_bias)


STEMS = {"conv7": conv7_stem, "blurred": blurred_stem, "deep": deep_stem, "strided": strided_stem, "conv3": conv3_stem}


def projection(x, filters: int, stride: int):
    """Option B of the paper: a 1x1 convolution and batch normalisation."""
    return conv_norm_act(x, filters, 1, stride=stride, activation=None)


def pooled_projection(x, filters: int, stride: int):
    """ResNet-D: average pooling, then a projection."""
    return projection(avg_pool(x, stride) if stride > 1 else x, filters, 1)


def blurred_projection(x, filters: int, stride: int):
    """Anti-aliased (Zhang, 2019): blur pooling, then a projection."""
    return projection(blur_pool(x, stride=stride) if stride > 1 else x, filters, 1)


def plain_projection(x, filters: int, stride: int):
    """MLPerf Tiny: a 1x1 convolution with bias, without normalisation."""
    return conv(x, filters, 1, stride=stride)


def zero_padding(x, filters: int, stride: int):
    """Option A of the paper: subsampling, and zero padding of the channels at both ends; no parameters."""
    x = subsample(x, stride) if stride > 1 else x
    before = (filters - x.shape[-1]) // 2
    after = filters - x.shape[-1] - before
    return keras.ops.pad(x, (*((0, 0),) * (x.ndim - 1), (before, after)))


SHORTCUTS = {
    "projection": projection,
    "pooled": pooled_projection,
    "blurred": blurred_projection,
    "plain": plain_projection,
    "zeros": zero_padding,
}


SMALL = {"block": "basic", "width": 16, "stem": "conv3"}  # the paper's networks for 32 x 32 pixels
GROUPS_32X4 = {"groups": 32, "width_per_group": 4}
RESNET_D = {"stem": "deep", "shortcut": "pooled"}
RESNET_RS = {"stem": "strided", "shortcut": "pooled", "se_ratio": 1 / 4}
MLPERF_TINY = CIFAR10._replace(dialect=TENSORFLOW)


KEY_MAPPING = (
    # The deep stem is a sequence named conv1, but for its last normalisation.
    Rule(r"^stem\.conv1$", "conv1.0", where=r"^conv1\.0\."),
    Rule(r"^stem\.norm1$", "conv1.1", where=r"^conv1\.0\."),
    Rule(r"^stem\.conv2$", "conv1.3"),
    Rule(r"^stem\.norm2$", "conv1.4"),
    Rule(r"^stem\.conv3$", "conv1.6"),
    Rule(r"^stem\.norm3$", "bn1"),
    Rule(r"^stem\.conv4$", "maxpool.0"),
    Rule(r"^stem\.norm4$", "maxpool.1"),
    Rule(r"^stem\.", ""),
    Rule(r"^stage(\d+)\.block(\d+)", r"layer\1.\2"),
    # ResNet-D's shortcut begins with the pooling.
    Rule(r"\.shortcut\.conv1$", ".downsample.1", where=r"\.downsample\.2\."),
    Rule(r"\.shortcut\.norm1$", ".downsample.2", where=r"\.downsample\.2\."),
    Rule(r"\.shortcut\.conv1$", ".downsample.0"),
    Rule(r"\.shortcut\.norm1$", ".downsample.1"),
    Rule(r"norm(\d)$", r"bn\1"),
    Rule(r"\.se\.conv", ".se.fc"),
    Rule(r"\.eca\.conv1$", ".se.conv"),
    Rule(r"^logits$", "linear", where=r"^linear\."),  # the networks for CIFAR
    logits_to("fc"),
)


@dataclass(frozen=True, kw_only=True)
class ResidualNet:
    """Residual network whose blocks differ from family to family by their `branch`, which is added to a shortcut.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)` (by `2 ** (len(depths) - 1)`
    with the "conv3" stem). The output of stage n is named `stage<n>`.

    Args:
        depths: number of residual blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        stem: "conv7" (ImageNet), "blurred" (with anti-aliased max pooling), "deep" (ResNet-D), "strided" (ResNet-RS) or
            "conv3" (CIFAR: keeps the resolution).
        shortcut: where a block changes the shape, "projection" (option B), "pooled" (ResNet-D), "blurred" (anti-aliased
            pooling, then a projection), "plain" (no normalisation) or "zeros" (option A, without parameters).
        kernel: kernel size of the spatial convolutions; 1-D inputs often want more than 3.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: for an unknown stem or shortcut.
    """

    depths: tuple[int, ...]
    width: int = 64
    stem: str = "conv7"
    shortcut: str = "projection"
    kernel: int = 3
    drop_path: float = 0.0

    use_bias = False  # a field of ResNet

    def __call__(self, x):
        with scope("stem"):
            x = lookup("stem", self.stem, STEMS)(x, self.width, self.use_bias)
        return residual_stages(x, self.residual_block, self.depths, self.width, self.drop_path)

    def residual_block(self, x, stride: int, filters: int, drop_rate: float):
        y = self.branch(x, filters, stride)
        project = lookup("shortcut", self.shortcut, SHORTCUTS)
        if stride > 1 or x.shape[-1] != y.shape[-1]:
            with scope("shortcut"):
                x = project(x, y.shape[-1], stride)
        return act(keras.layers.add([drop_path(y, drop_rate), x]))

    def branch(self, x, filters: int, stride: int):
        """Map a block's input to what is added to its shortcut."""
        raise NotImplementedError


# name, paper, trainable parameters at the reference input, hyperparameters
@register_model("resnet18", HE_2016, 11_689_512, depths=(2, 2, 2, 2), block="basic")
@register_model("resnet34", HE_2016, 21_797_672, depths=(3, 4, 6, 3), block="basic")
@register_model("resnet26", HE_2016, 15_995_176, depths=(2, 2, 2, 2))
@register_model("resnet50", HE_2016, 25_557_032, depths=(3, 4, 6, 3))
@register_model("resnet101", HE_2016, 44_549_160, depths=(3, 4, 23, 3))
@register_model("resnet152", HE_2016, 60_192_808, depths=(3, 8, 36, 3))
@register_model("resnet200", HE_2016, 64_673_832, depths=(3, 24, 36, 3))
@register_model("resnext50_32x4d", XIE_2017, 25_028_904, depths=(3, 4, 6, 3), **GROUPS_32X4)
@register_model("resnext101_32x8d", XIE_2017, 88_791_336, depths=(3, 4, 23, 3), groups=32, width_per_group=8)
@register_model("resnext101_64x4d", XIE_2017, 83_455_272, depths=(3, 4, 23, 3), groups=64, width_per_group=4)
@register_model("wide_resnet50_2", ZAGORUYKO_2016, 68_883_240, depths=(3, 4, 6, 3), width_per_group=128)
@register_model("wide_resnet101_2", ZAGORUYKO_2016, 126_886_696, depths=(3, 4, 23, 3), width_per_group=128)
@register_model("seresnet50", HU_2018, 28_088_024, depths=(3, 4, 6, 3), se_ratio=1 / 16)
@register_model("seresnext50_32x4d", HU_2018, 27_559_896, depths=(3, 4, 6, 3), se_ratio=1 / 16, **GROUPS_32X4)
@register_model(
    "seresnext26d_32x4d", HU_2018, 16_809_512, depths=(2, 2, 2, 2), se_ratio=1 / 16, **GROUPS_32X4, **RESNET_D
)
@register_model("resnet50d", HE_2019, 25_576_264, depths=(3, 4, 6, 3), **RESNET_D)
@register_model("resnext50d_32x4d", HE_2019, 25_048_136, depths=(3, 4, 6, 3), **GROUPS_32X4, **RESNET_D)
@register_model("resnetblur50", ZHANG_2019, 25_557_032, depths=(3, 4, 6, 3), stem="blurred", blur=True)
@register_model("ecaresnet50d", WANG_2020, 25_576_350, depths=(3, 4, 6, 3), eca=True, **RESNET_D)
@register_model("resnetrs50", BELLO_2021, 35_691_912, Reference((160, 160, 3), 1000), depths=(3, 4, 6, 3), **RESNET_RS)
@register_model(
    "resnetrs101", BELLO_2021, 63_618_696, Reference((192, 192, 3), 1000), depths=(3, 4, 23, 3), **RESNET_RS
)
@register_model("resnet20", HE_2016, 269_722, CIFAR10, depths=(3, 3, 3), shortcut="zeros", **SMALL)
@register_model("resnet32", HE_2016, 464_154, CIFAR10, depths=(5, 5, 5), shortcut="zeros", **SMALL)
@register_model("resnet44", HE_2016, 658_586, CIFAR10, depths=(7, 7, 7), shortcut="zeros", **SMALL)
@register_model("resnet56", HE_2016, 853_018, CIFAR10, depths=(9, 9, 9), shortcut="zeros", **SMALL)
@register_model("resnet110", HE_2016, 1_727_962, CIFAR10, depths=(18, 18, 18), shortcut="zeros", **SMALL)
@register_model("resnet20_option_b", HE_2016, 272_474, CIFAR10, depths=(3, 3, 3), **SMALL)
@register_model("resnet32_option_b", HE_2016, 466_906, CIFAR10, depths=(5, 5, 5), **SMALL)
@register_model("resnet44_option_b", HE_2016, 661_338, CIFAR10, depths=(7, 7, 7), **SMALL)
@register_model("resnet56_option_b", HE_2016, 855_770, CIFAR10, depths=(9, 9, 9), **SMALL)
# Option B has option A's count plus the two projections, 2,752 parameters at every depth.
@register_model("resnet110_option_b", HE_2016, 1_730_714, CIFAR10, depths=(18, 18, 18), **SMALL)
@register_model(
    "resnet8", BANBURY_2021, 78_186, MLPERF_TINY, depths=(1, 1, 1), shortcut="plain", use_bias=True, **SMALL
)
@dataclass(frozen=True, kw_only=True)
class ResNet(ResidualNet):
    """Residual network, by default in its v1.5 form: a bottleneck strides in its middle convolution.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)` (by `2 ** (len(depths) - 1)`
    with the "conv3" stem). The output of stage n is named `stage<n>`.

    Args:
        block: "basic" (two convolutions) or "bottleneck" (1, `kernel`, 1; expands channels by 4).
        groups: groups of the middle convolution of a bottleneck (the cardinality of ResNeXt).
        width_per_group: filters of one such group for every 64 filters of the stage.
        se_ratio: squeeze-and-excitation ratio, 0 for none.
        eca: end each branch with efficient channel attention.
        use_bias: biases in the convolutions, although a normalisation follows.
        blur: anti-aliased downsampling: the strided convolution of a branch is computed at stride 1 and blurred before
            subsampling. Zhang (2019, https://arxiv.org/abs/1904.11486) blurs the shortcuts too, which timm's
            resnetblur50 does not: his networks are those with the stem and the shortcut "blurred" besides, up to the
            size of the stem's max pooling, 2 there.
        stride_in_first: a bottleneck strides in its first convolution, as in the paper.

    Raises:
        ValueError: for an unknown block, stem or shortcut, or groups in a basic block.
    """

    block: str = "bottleneck"
    groups: int = 1
    width_per_group: int = 64
    se_ratio: float = 0.0
    eca: bool = False
    use_bias: bool = False
    blur: bool = False
    stride_in_first: bool = False

    def branch(self, x, filters: int, stride: int):
        branches = {"basic": self.basic_branch, "bottleneck": self.bottleneck_branch}
        y = lookup("block", self.block, branches)(x, filters, stride)
        y = squeeze_excite(y, self.se_ratio) if self.se_ratio else y
        return efficient_channel_attention(y) if self.eca else y

    def basic_branch(self, x, filters: int, stride: int):
        if self.groups != 1:
            raise ValueError("a basic block has no groups; use block='bottleneck'")
        x = self.strided(x, filters, stride)
        return conv_norm_act(x, filters, self.kernel, use_bias=self.use_bias, activation=None, zero_gamma=True)

    def bottleneck_branch(self, x, filters: int, stride: int):
        inner = filters * self.width_per_group * self.groups // 64
        first, middle = (stride, 1) if self.stride_in_first else (1, stride)
        x = conv_norm_act(x, inner, 1, stride=first, use_bias=self.use_bias)
        x = self.strided(x, inner, middle)
        return conv_norm_act(x, 4 * filters, 1, use_bias=self.use_bias, activation=None, zero_gamma=True)

    def strided(self, x, filters: int, stride: int):
        options = {"groups": self.groups, "use_bias": self.use_bias}
        if not self.blur or stride == 1:
            return conv_norm_act(x, filters, self.kernel, stride=stride, **options)
        return blur_pool(conv_norm_act(x, filters, self.kernel, **options), stride=stride)
