"""DeepLabV3+: DeepLabV3's pyramid pooling, upsampled and refined with a fine feature map of the encoder."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.models.deeplabv3 import spatial_pyramid
from kzoo.nn.blocks import separable_conv
from kzoo.nn.layers import act, batch_norm, conv_norm_act, interpolate_by, scope
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, Encoder, ratio

CHEN_2018 = Paper(
    "Chen, Liang-Chieh and Zhu, Yukun and Papandreou, George and Schroff, Florian and Adam, Hartwig",
    2018,
    "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
    "https://arxiv.org/abs/1802.02611",
    "ECCV",
)

KEY_MAPPING = (
    Rule(r"^decoder\.aspp\.branch0\.conv1$", "decoder.aspp.0.convs.0.0"),
    Rule(r"^decoder\.aspp\.branch(\d)\.dwconv1$", r"decoder.aspp.0.convs.\1.0.0"),
    Rule(r"^decoder\.aspp\.branch(\d)\.conv1$", r"decoder.aspp.0.convs.\1.0.1"),
    Rule(r"^decoder\.aspp\.branch(\d)\.norm1$", r"decoder.aspp.0.convs.\1.1"),
    Rule(r"^decoder\.aspp\.pool\.conv1$", "decoder.aspp.0.convs.4.1"),
    Rule(r"^decoder\.aspp\.pool\.norm1$", "decoder.aspp.0.convs.4.2"),
    Rule(r"^decoder\.aspp\.project\.conv1$", "decoder.aspp.0.project.0"),
    Rule(r"^decoder\.aspp\.project\.norm1$", "decoder.aspp.0.project.1"),
    Rule(r"^decoder\.coarse\.dwconv1$", "decoder.aspp.1.0"),
    Rule(r"^decoder\.coarse\.conv1$", "decoder.aspp.1.1"),
    Rule(r"^decoder\.coarse\.norm1$", "decoder.aspp.2"),
    Rule(r"^decoder\.fine\.conv1$", "decoder.block1.0"),
    Rule(r"^decoder\.fine\.norm1$", "decoder.block1.1"),
    Rule(r"^decoder\.fused\.dwconv1$", "decoder.block2.0.0"),
    Rule(r"^decoder\.fused\.conv1$", "decoder.block2.0.1"),
    Rule(r"^decoder\.fused\.norm1$", "decoder.block2.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)


@register_model("deeplabv3plus", CHEN_2018, 22_437_457, ONE_CLASS, task=TASK)
@register_model("deeplabv3plus_resnet18", CHEN_2018, 12_329_297, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("deeplabv3plus_resnet34", CHEN_2018, 22_437_457, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("deeplabv3plus_resnet50", CHEN_2018, 26_677_585, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model(
    "deeplabv3plus_mobilenetv2_100",
    CHEN_2018,
    2_711_633,
    ONE_CLASS,
    task=TASK,
    encoder="mobilenetv2_100",
    dilate_strided=False,
)
@dataclass(frozen=True, kw_only=True)
class DeepLabV3Plus(Decoder):
    """Atrous spatial pyramid pooling on the last map of a dilated encoder, joined with its map at stride 4.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the output stride,
    and the logits, at stride 4, are interpolated and cut back to its size.

    Args:
        dilate_strided: a layer that gives up its stride is dilated like those that follow it, as in
            segmentation_models_pytorch.
        filters: filters of the pyramid pooling and of the convolution after the fine map is joined.
        fine_width: channels that the fine map is reduced to.
        rates: dilation rates of the pyramid pooling.
        fine_stride: stride of the fine map; the finest coarser one of an encoder without it.
    """

    output_stride: int | None = 16
    dilate_strided: bool = True
    filters: int = 256
    fine_width: int = 48
    rates: tuple[int, ...] = (12, 24, 36)
    fine_stride: int = 4

    def pyramid(self, x):
        return Encoder(self.encoder, self.output_stride, self.dilate_strided)(x)

    def decode(self, levels):
        coarse = levels[-1]
        fine = next((level for level in levels if max(level.stride) >= self.fine_stride), coarse)
        x = spatial_pyramid(coarse.map, self.filters, self.rates, separable=True)
        x = interpolate_by(self.separable(x, "coarse"), ratio(coarse.stride, fine.stride), align_corners=True)
        with scope("fine"):
            y = conv_norm_act(fine.map, self.fine_width, 1)
        return self.separable(keras.layers.concatenate([x, y]), "fused"), fine.stride

    def separable(self, x, name: str):
        with scope(name):
            return act(batch_norm(separable_conv(x, self.filters, 3)))
