"""InceptionNeXt: ConvNeXt with its large depthwise kernel split into square, band and identity branches."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import layer_scale, patches, residual_stages
from kzoo.nn.layers import batch_norm, dense, depthwise_conv, drop_path, global_avg_pool, layer_norm, scope
from kzoo.nn.naming import STAGES_AND_BLOCKS, STEM_SEQUENCE, Rule, from_zero, logits_to

YU_2024 = Paper(
    "Yu, Weihao and Zhou, Pan and Yan, Shuicheng and Wang, Xinchao",
    2024,
    "InceptionNeXt: When Inception Meets ConvNeXt",
    "https://arxiv.org/abs/2303.16900",
    "CVPR",
)

KEY_MAPPING = (
    *STEM_SEQUENCE,
    Rule(r"\.downsample\.norm1$", ".downsample.0"),
    Rule(r"\.downsample\.conv1$", ".downsample.1"),
    Rule(r"^stage(\d+)\.block0\.downsample", from_zero("stages.{}.downsample")),
    STAGES_AND_BLOCKS,
    Rule(r"\.dwconv1$", ".token_mixer.dwconv_hw"),
    Rule(r"\.dwconv2$", ".token_mixer.dwconv_w"),
    Rule(r"\.dwconv3$", ".token_mixer.dwconv_h"),
    Rule(r"^head\.dense1$", "head.fc1"),
    Rule(r"\.dense(\d)$", r".mlp.fc\1"),
    Rule(r"\.norm1$", ".norm"),
    Rule(r"\.scale1$", ".gamma"),
    logits_to("head.fc2"),
)


@register_model("inception_next_atto", YU_2024, 4_156_520, depths=(2, 2, 6, 2), width=40, band=9, branch_ratio=0.25)
@register_model("inception_next_tiny", YU_2024, 28_055_680, depths=(3, 3, 9, 3), width=96)
@register_model("inception_next_small", YU_2024, 49_374_016, depths=(3, 3, 27, 3), width=96)
@register_model("inception_next_base", YU_2024, 86_672_136, depths=(3, 3, 27, 3), width=128)
@dataclass(frozen=True)
class InceptionNeXt:
    """Patch embedding, then stages of residual blocks: an inception depthwise convolution and an inverted bottleneck.

    Maps a feature map to a vector. The output of stage n is named `stage<n>`; its spatial axes are those of the input
    divided by `patch * 2 ** (n - 1)`, rounded down.

    Args:
        depths: number of blocks in each stage.
        width: filters of the first stage; each later stage doubles them.
        patch: patch size: kernel size and stride of the stem.
        kernel: kernel size of the square convolutions.
        band: length of the convolutions that are 1 wide along the other axis.
        branch_ratio: fraction of the channels that each of the three convolutions sees; the others stay as they are.
        expansions: expansion ratio of the blocks of each stage: hidden channels as a multiple of the input channels.
        head_expansion: channels of the head's hidden layer for each one of the last stage.
        layer_scale: initial value of layer scale in the residual branches; 0 for none.
        drop_path: stochastic depth rate of the last block, rising linearly from 0 at the first, in [0, 1).

    Raises:
        ValueError: if `depths` and `expansions` differ in length.
    """

    depths: tuple[int, ...]
    width: int
    patch: int = 4
    kernel: int = 3
    band: int = 11
    branch_ratio: float = 0.125
    expansions: tuple[int, ...] = (4, 4, 4, 3)
    head_expansion: int = 3
    layer_scale: float = 1e-6
    drop_path: float = 0.0

    def __call__(self, x):
        with scope("stem"):
            x = batch_norm(patches(x, self.width, self.patch))
        x = residual_stages(x, self.block, self.depths, self.width, self.drop_path, expansions=self.expansions)
        with scope("head"):
            return layer_norm(dense(global_avg_pool(x), self.head_expansion * x.shape[-1], "gelu"))

    def block(self, x, stride: int, filters: int, drop_rate: float, expansion: int):
        if stride > 1:
            with scope("downsample"):
                x = patches(batch_norm(x), filters, stride)
        y = batch_norm(self.inception(x))
        y = dense(dense(y, expansion * filters, "gelu"), filters)
        return keras.layers.add([x, drop_path(layer_scale(y, self.layer_scale), drop_rate)])

    def inception(self, x):
        branch = int(x.shape[-1] * self.branch_ratio)
        rest = x.shape[-1] - 3 * branch
        same, square, across, along = keras.ops.split(x, [rest, rest + branch, rest + 2 * branch], axis=-1)
        square = depthwise_conv(square, self.kernel)
        across = depthwise_conv(across, (1, self.band))
        along = depthwise_conv(along, (self.band, 1))
        return keras.layers.concatenate([same, square, across, along])
