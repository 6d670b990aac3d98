"""DnCNN and VDSR: deep plain networks that estimate what is wrong with an image, which is taken from it."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, named_stages
from kzoo.nn.heads import Restorer, check_same_channels, conv_readout
from kzoo.nn.layers import act, conv, norm, scope
from kzoo.nn.naming import Rule

ZHANG_2017 = Paper(
    "Zhang, Kai and Zuo, Wangmeng and Chen, Yunjin and Meng, Deyu and Zhang, Lei",
    2017,
    "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising",
    "https://arxiv.org/abs/1608.03981",
    "IEEE TIP",
)
KIM_2016 = Paper(
    "Kim, Jiwon and Lee, Jung Kwon and Lee, Kyoung Mu",
    2016,
    "Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
    "https://arxiv.org/abs/1511.04587",
    "CVPR",
)

# The authors' code for Keras has this epsilon. Its momentum of 0 keeps the statistics of the last batch alone.
GREY_PATCH = Reference((40, 40, 1), 1, TENSORFLOW._replace(bn_epsilon=1e-4, bn_momentum=0.9))
VDSR_PATCH = Reference((41, 41, 1), 1)


def numbered(kind: str, first: int):
    """Return a replacement for the authors' names, which count every layer: convolution, normalisation, activation."""

    def name(match, layers):
        number = int(match[1]) if match.re.groups else sum(layer.endswith(".conv1") for layer in layers) - 1
        return f"{kind}{3 * number + first}/{kind}{3 * number + first}"

    return name


KEY_MAPPING = (
    Rule(r"^stem\.conv1$", "conv1/conv1"),
    Rule(r"^stage1\.block(\d+)\.conv1$", numbered("conv", 3)),
    Rule(r"^stage1\.block(\d+)\.norm1$", numbered("bn", 4)),
    Rule(r"^logits$", numbered("conv", 3)),
)


@register_model("dncnn17", ZHANG_2017, 556_096, GREY_PATCH, task="restoration")
# Three convolutions more, each 36,864 weights and 128 of its normalisation: the paper's depth for unknown noise levels.
@register_model("dncnn20", ZHANG_2017, 667_072, GREY_PATCH, task="restoration", depths=18)
@register_model(
    "vdsr", KIM_2016, 665_921, VDSR_PATCH, task="restoration", depths=18, norm="none", use_bias=True, subtract=False
)
@dataclass(frozen=True)
class DnCNN(Restorer):
    """Convolutions of one width whose last one estimates the noise, which is subtracted from the input.

    Maps a feature map to one of the same size; the output of the convolutions in the middle is named `stage1`. The
    output has the size and the channels of the input. VDSR has no normalisation and adds what it estimates: the details
    that an image lacks which was enlarged by bicubic interpolation.

    Args:
        depths: number of convolutions in the middle; with the first and the last there are two more.
        width: filters of each convolution.
        kernel: kernel size of each convolution.
        norm: normalisation of the convolutions in the middle, "none", "batch", "layer" or "group".
        use_bias: biases in the convolutions after the first.
        subtract: whether the estimate is subtracted from the input; otherwise it is added.

    Raises:
        ValueError: for an unknown normalisation, or outputs that are not as many as the channels of the input.
    """

    depths: int = 15
    width: int = 64
    kernel: int = 3
    norm: str = "batch"
    use_bias: bool = False
    subtract: bool = True

    def __call__(self, x):
        with scope("stem"):
            x = conv(x, self.width, self.kernel, activation="relu")
        return named_stages(x, self.middle)

    def middle(self, x):
        return block_sequence(x, self.layer, [()] * self.depths)

    def layer(self, x):
        return act(norm(conv(x, self.width, self.kernel, use_bias=self.use_bias), self.norm))

    def output_map(self, x, inputs, outputs: int):
        """Return the input without the estimated noise, or with the estimated details."""
        check_same_channels(inputs, outputs)
        combine = keras.layers.Subtract if self.subtract else keras.layers.Add
        return combine(dtype="float32")([inputs, conv_readout(x, outputs, self.kernel, use_bias=self.use_bias)])
