"""FasterNet: partial convolutions, which convolve a quarter of the channels and so save memory accesses."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import patches, residual_stages
from kzoo.nn.layers import act, batch_norm, conv, conv_norm_act, drop_path, global_avg_pool, scope
from kzoo.nn.naming import STAGES_AND_BLOCKS, Rule, from_zero, logits_to

CHEN_2023 = Paper(
    "Chen, Jierun and Kao, Shiu-hong and He, Hao and Zhuo, Weipeng and Wen, Song and Lee, Chul-Ho and Chan, S.-H. Gary",
    2023,
    "Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks",
    "https://arxiv.org/abs/2303.03667",
    "CVPR",
)

KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "patch_embed.proj"),
    Rule(r"^stem\.norm1$", "patch_embed.norm"),
    Rule(r"\.downsample\.conv1$", ".downsample.reduction"),
    Rule(r"\.downsample\.norm1$", ".downsample.norm"),
    Rule(r"^stage(\d+)\.block0\.downsample", from_zero("stages.{}.downsample")),
    STAGES_AND_BLOCKS,
    Rule(r"\.conv1$", ".spatial_mixing.partial_conv3"),
    Rule(r"\.conv2$", ".mlp.0"),
    Rule(r"\.norm1$", ".mlp.1"),
    Rule(r"\.conv3$", ".mlp.3"),
    Rule(r"^head\..*", "conv_head"),
    logits_to("classifier"),
)

DEEP = {"depths": (3, 4, 18, 3)}


@register_model("fasternet_t0", CHEN_2023, 3_905_500, width=40, activation="gelu")
@register_model("fasternet_t1", CHEN_2023, 7_595_368, width=64, activation="gelu", drop_path=0.02)
@register_model("fasternet_t2", CHEN_2023, 14_982_888, width=96, drop_path=0.05)
@register_model("fasternet_s", CHEN_2023, 31_181_032, width=128, depths=(1, 2, 13, 2), drop_path=0.1)
@register_model("fasternet_m", CHEN_2023, 53_521_464, width=144, drop_path=0.2, **DEEP)
@register_model("fasternet_l", CHEN_2023, 93_465_192, width=192, drop_path=0.3, **DEEP)
@dataclass(frozen=True)
class FasterNet:
    """Patch embedding, then stages of residual blocks: a partial convolution and two pointwise ones.

    Maps a feature map to one of a single position and `units` channels. The output of stage n is named `stage<n>`; its
    spatial axes are those of the input divided by `patch * 2 ** (n - 1)`, rounded down.

    Args:
        width: filters of the first stage; each later stage doubles them.
        depths: number of blocks in each stage.
        patch: patch size: kernel size and stride of the stem.
        kernel: kernel size of the partial convolutions.
        divisor: one in this many channels is convolved.
        expansion: expansion ratio: hidden channels of a block as a multiple of its input channels.
        units: outputs of the layer before the logits.
        activation: Keras name of the activation.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).
    """

    width: int
    depths: tuple[int, ...] = (1, 2, 8, 2)
    patch: int = 4
    kernel: int = 3
    divisor: int = 4
    expansion: int = 2
    units: int = 1280
    activation: str = "relu"
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = batch_norm(patches(x, self.width, self.patch, use_bias=False))
        x = residual_stages(x, self.block, self.depths, self.width, self.drop_path)
        with scope("head"):
            x = conv(global_avg_pool(x, keepdims=True), self.units, 1, use_bias=False)
            return act(x, self.activation)

    def block(self, x, stride: int, filters: int, drop_rate: float):
        if stride > 1:
            with scope("downsample"):
                x = batch_norm(patches(x, filters, stride, use_bias=False))
        y = conv_norm_act(self.partial_conv(x), self.expansion * filters, 1, activation=self.activation)
        return keras.layers.add([x, drop_path(conv(y, filters, 1, use_bias=False), drop_rate)])

    def partial_conv(self, x):
        convolved = x.shape[-1] // self.divisor
        some, others = keras.ops.split(x, [convolved], axis=-1)
        return keras.layers.concatenate([conv(some, convolved, self.kernel, use_bias=False), others])
