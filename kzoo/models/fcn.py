"""Fully convolutional network: one convolution and the logits on the last map of a dilated encoder."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, register_model
from kzoo.models.deeplabv3 import PASCAL_VOC, TorchvisionDecoder
from kzoo.nn.layers import conv_norm_act, dropout
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import TASK

LONG_2015 = Paper(
    "Long, Jonathan and Shelhamer, Evan and Darrell, Trevor",
    2015,
    "Fully Convolutional Networks for Semantic Segmentation",
    "https://arxiv.org/abs/1411.4038",
    "CVPR",
)

KEY_MAPPING = (
    Rule(r"^backbone\.features\.", "backbone."),
    Rule(r"^decoder\.conv1$", "classifier.0"),
    Rule(r"^decoder\.norm1$", "classifier.1"),
    Rule(r"^logits$", "classifier.4"),
)
IGNORE_UNEXPECTED = (r"^aux_classifier\.",)


# Counted in torchvision without the auxiliary classifier.
@register_model("fcn_resnet50", LONG_2015, 32_957_013, PASCAL_VOC, task=TASK)
@register_model("fcn_resnet101", LONG_2015, 51_949_141, PASCAL_VOC, task=TASK, encoder="resnet101")
@dataclass(frozen=True, kw_only=True)
class FullyConvolutional(TorchvisionDecoder):
    """A convolution to a quarter of the channels and the logits on the last map of an encoder, as in torchvision.

    The input may have any size that is not below the encoder's stride; it is not padded, and the logits are
    interpolated to its size.

    Args:
        dropout: dropout rate before the logits, in [0, 1).
    """

    dropout: float = 0.1

    def decode(self, levels):
        stride, x = levels[-1]
        return dropout(conv_norm_act(x, x.shape[-1] // 4, 3), self.dropout), stride
