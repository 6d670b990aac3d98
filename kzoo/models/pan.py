"""PAN: pyramid attention on the last map of an encoder; coarse maps gate the channels of finer ones on the way up."""

from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import act, conv_norm_act, global_avg_pool, interpolate, max_pool, scope
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, Encoder

LI_2018 = Paper(
    "Li, Hanchao and Xiong, Pengfei and An, Jie and Wang, Lingxue",
    2018,
    "Pyramid Attention Network for Semantic Segmentation",
    "https://arxiv.org/abs/1805.10180",
    "BMVC",
)

KEY_MAPPING = (
    Rule(r"^decoder\.attention\.pool\.", "decoder.fpa.branch1.1."),
    Rule(r"^decoder\.attention\.middle\.", "decoder.fpa.mid.0."),
    Rule(r"^decoder\.attention\.down3\.(conv|norm)(\d)$", r"decoder.fpa.down3.\2.\g<1>1"),
    Rule(r"^decoder\.attention\.down(\d)\.(conv|norm)1$", r"decoder.fpa.down\1.1.\g<2>1"),
    Rule(r"^decoder\.attention\.up(\d)\.", r"decoder.fpa.conv\1."),
    Rule(r"^decoder\.level(\d)\.gate\.", r"decoder.gau\1.conv1.1."),
    Rule(r"^decoder\.level(\d)\.(conv|norm)1$", r"decoder.gau\1.conv2.\g<2>1"),
    Rule(r"^(decoder\..*)\.conv1$", r"\1.conv"),
    Rule(r"^(decoder\..*)\.norm1$", r"\1.bn"),
    Rule(r"^logits$", "segmentation_head.0"),
)


@register_model("pan", LI_2018, 21_475_816, ONE_CLASS, task=TASK)
@register_model("pan_resnet18", LI_2018, 11_367_656, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("pan_resnet34", LI_2018, 21_475_816, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("pan_resnet50", LI_2018, 24_259_816, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model(
    "pan_mobilenetv2_100", LI_2018, 1_895_912, ONE_CLASS, task=TASK, encoder="mobilenetv2_100", dilate_strided=False
)
@dataclass(frozen=True, kw_only=True)
class PAN(Decoder):
    """Pyramid attention network on the four coarsest maps of an encoder.

    The input may have any size of at least 8 times the output stride: it is padded with zeros, at the ends of its axes,
    to a multiple of the output stride, and the logits, of the stride of the finest map used, are interpolated and cut
    back to its size.

    Args:
        dilate_strided: a layer that gives up its stride is dilated like those that follow it, as in
            segmentation_models_pytorch.
        width: channels of the decoder.
    """

    output_stride: int | None = 16
    dilate_strided: bool = True
    width: int = 32

    head_kernel: ClassVar[int] = 3

    def pyramid(self, x):
        return Encoder(self.encoder, self.output_stride, self.dilate_strided)(x)

    def decode(self, levels):
        *finer, coarsest = levels[-4:]
        with scope("attention"):
            x = self.attention(coarsest.map)
        stride = coarsest.stride
        for number, level in reversed(list(enumerate(finer, start=1))):
            with scope(f"level{number}"):
                x, stride = self.gated(level.map, x), level.stride
        return x, stride

    def attention(self, x):
        """Pyramid attention: a product with maps of one channel that see three coarser scales, plus the average."""
        down1 = self.named("down1", max_pool(x, 2, padding="valid"), 1, 7)
        down2 = self.named("down2", max_pool(down1, 2, padding="valid"), 1, 5)
        with scope("down3"):
            y = normalised(normalised(max_pool(down2, 2, padding="valid"), 1, 3), 1, 3)
        for name, kernel, finer in (("up2", 5, down2), ("up1", 7, down1)):
            y = interpolate(y, finer, align_corners=True)
            y = keras.layers.add([self.named(name, finer, 1, kernel), y])
        y = keras.layers.multiply([interpolate(y, x, align_corners=True), self.named("middle", x, self.width, 1)])
        average = self.named("pool", global_avg_pool(x, keepdims=True), self.width, 1)
        return keras.layers.add([y, interpolate(average, x, align_corners=True)])

    def named(self, name: str, x, filters: int, kernel: int):
        with scope(name):
            return normalised(x, filters, kernel)

    def gated(self, x, coarser):
        """Add a coarser map to a finer one whose channels it gates."""
        y = normalised(x, self.width, 3)
        with scope("gate"):
            gate = act(normalised(global_avg_pool(coarser, keepdims=True), self.width, 1, activation=None), "sigmoid")
        return keras.layers.add([interpolate(coarser, x, align_corners=True), keras.layers.multiply([y, gate])])


def normalised(x, filters: int, kernel: int, activation: str | None = "relu"):
    return conv_norm_act(x, filters, kernel, use_bias=True, activation=activation)
