"""DeepLabV3: atrous spatial pyramid pooling, parallel dilated convolutions of several rates on a dilated encoder."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.blocks import separable_conv
from kzoo.nn.heads import conv_readout
from kzoo.nn.layers import (
    act,
    batch_norm,
    conv_norm_act,
    dropout,
    global_avg_pool,
    interpolate,
    named_output,
    scope,
)
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import TASK, Decoder, Encoder

CHEN_2017 = Paper(
    "Chen, Liang-Chieh and Papandreou, George and Schroff, Florian and Adam, Hartwig",
    2017,
    "Rethinking Atrous Convolution for Semantic Image Segmentation",
    "https://arxiv.org/abs/1706.05587",
)

PASCAL_VOC = Reference((224, 224, 3), 21)
KEY_MAPPING = (
    Rule(r"^backbone\.features\.", "backbone."),
    Rule(r"^decoder\.aspp\.branch(\d)\.conv1$", r"classifier.0.convs.\1.0"),
    Rule(r"^decoder\.aspp\.branch(\d)\.norm1$", r"classifier.0.convs.\1.1"),
    Rule(r"^decoder\.aspp\.pool\.conv1$", "classifier.0.convs.4.1"),
    Rule(r"^decoder\.aspp\.pool\.norm1$", "classifier.0.convs.4.2"),
    Rule(r"^decoder\.aspp\.project\.conv1$", "classifier.0.project.0"),
    Rule(r"^decoder\.aspp\.project\.norm1$", "classifier.0.project.1"),
    Rule(r"^decoder\.conv1$", "classifier.1"),
    Rule(r"^decoder\.norm1$", "classifier.2"),
    Rule(r"^logits$", "classifier.4"),
)
IGNORE_UNEXPECTED = (r"^aux_classifier\.",)


def spatial_pyramid(x, filters: int, rates: tuple[int, ...], separable: bool = False):
    """Atrous spatial pyramid pooling: a pointwise convolution, dilated ones at several rates, and the average of all.

    Args:
        x: feature map.
        filters: channels of each branch and of the result.
        rates: dilation rates.
        separable: depthwise separable dilated convolutions.
    """
    with scope("aspp"):
        branches = [pointwise_branch(x, filters)]
        for n, rate in enumerate(rates, start=1):
            with scope(f"branch{n}"):
                branches.append(dilated_branch(x, filters, rate, separable))
        branches.append(average_branch(x, filters))
        with scope("project"):
            return dropout(conv_norm_act(keras.layers.concatenate(branches), filters, 1), 0.5)


def pointwise_branch(x, filters: int):
    with scope("branch0"):
        return conv_norm_act(x, filters, 1)


def dilated_branch(x, filters: int, rate: int, separable: bool):
    if separable:
        return act(batch_norm(separable_conv(x, filters, 3, dilation=rate)))
    return conv_norm_act(x, filters, 3, dilation=rate)


def average_branch(x, filters: int):
    with scope("pool"):
        return interpolate(conv_norm_act(global_avg_pool(x, keepdims=True), filters, 1), x)


@dataclass(frozen=True, kw_only=True)
class TorchvisionDecoder(Decoder):
    """Decoder of torchvision: logits of the encoder's last map, interpolated to the size of the input.

    The input may have any size that is not below the encoder's stride; it is not padded.

    Args:
        dilate_strided: a layer that gives up its stride is dilated like those that follow it.
        top: the map that is decoded, that of the last "stage" of the encoder, or of the convolution of its "head"
            before the pooling.
    """

    encoder: str = "resnet50"
    output_stride: int | None = 8
    dilate_strided: bool = False
    top: str = "stage"

    def pyramid(self, x):
        return Encoder(self.encoder, self.output_stride, self.dilate_strided, top=self.top, padded=False)(x)

    def outputs(self, x, num_outputs: int):
        y, _ = self.features(x)
        y = interpolate(conv_readout(y, num_outputs, 1) if num_outputs else y, x)
        return y if num_outputs else named_output(y, "features")


MOBILENET = {"encoder": "mobilenet_v3_large", "output_stride": 16, "dilate_strided": True, "top": "head"}


# Counted in torchvision without the auxiliary classifier.
@register_model("deeplabv3", CHEN_2017, 39_638_869, PASCAL_VOC, task=TASK)
@register_model("deeplabv3_resnet50", CHEN_2017, 39_638_869, PASCAL_VOC, task=TASK)
@register_model("deeplabv3_resnet101", CHEN_2017, 58_630_997, PASCAL_VOC, task=TASK, encoder="resnet101")
@register_model("deeplabv3_mobilenet_v3_large", CHEN_2017, 11_025_477, PASCAL_VOC, task=TASK, **MOBILENET)
@dataclass(frozen=True, kw_only=True)
class DeepLabV3(TorchvisionDecoder):
    """Atrous spatial pyramid pooling on the last map of a dilated encoder, as in torchvision.

    The input may have any size that is not below the encoder's stride; it is not padded, and the logits are
    interpolated to its size.

    Args:
        filters: filters of each branch and of the convolution after them.
        rates: dilation rates of the branches.
    """

    filters: int = 256
    rates: tuple[int, ...] = (12, 24, 36)

    def decode(self, levels):
        stride, x = levels[-1]
        return conv_norm_act(spatial_pyramid(x, self.filters, self.rates), self.filters, 3), stride
