"""ConvMixer: patch embeddings mixed by depthwise and pointwise convolutions at one resolution."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import patches, stages
from kzoo.nn.layers import act, batch_norm, conv, depthwise_conv, scope
from kzoo.nn.naming import Rule, logits_to

TROCKMAN_2022 = Paper(
    "Trockman, Asher and Kolter, J. Zico",
    2022,
    "Patches Are All You Need?",
    "https://arxiv.org/abs/2201.09792",
)

KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "stem.0"),
    Rule(r"^stem\.norm1$", "stem.2"),
    Rule(r"^stage1\.block", "blocks."),
    Rule(r"\.dwconv1$", ".0.fn.0"),
    Rule(r"\.norm1$", ".0.fn.2"),
    Rule(r"\.conv1$", ".1"),
    Rule(r"\.norm2$", ".3"),
    logits_to("head"),
)


@register_model("convmixer_768_32", TROCKMAN_2022, 21_110_248, width=768, depths=(32,), kernel=7, activation="relu")
@register_model("convmixer_1024_20_ks9_p14", TROCKMAN_2022, 24_383_464, width=1024, depths=(20,), patch=14)
@register_model("convmixer_1536_20", TROCKMAN_2022, 51_625_960, width=1536, depths=(20,))
@dataclass(frozen=True)
class ConvMixer:
    """Patch embedding, then equal blocks: a residual depthwise convolution and a pointwise convolution.

    Maps a feature map to one whose spatial axes are divided by `patch`, rounded down. The output of stage n is named
    `stage<n>`.

    Args:
        width: channels of every block.
        depths: number of blocks in each stage; the published networks have one.
        kernel: kernel size of the depthwise convolutions.
        patch: patch size: kernel size and stride of the stem.
        activation: Keras name of the activation, which comes before each normalisation.
    """

    width: int
    depths: tuple[int, ...]
    kernel: int = 9
    patch: int = 7
    activation: str = "gelu"

    def __call__(self, x):
        with scope("stem"):
            x = self.act_norm(patches(x, self.width, self.patch))
        return stages(x, self.block, depths=self.depths, strides=(1,) * len(self.depths))

    def block(self, x, _stride: int):
        y = self.act_norm(depthwise_conv(x, self.kernel))
        x = keras.layers.add([x, y])
        return self.act_norm(conv(x, self.width, 1))

    def act_norm(self, x):
        return batch_norm(act(x, self.activation))
