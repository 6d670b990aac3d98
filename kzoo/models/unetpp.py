"""U-Net++: a U-Net at every depth, all nested in one; each node joins all earlier nodes of its resolution."""

from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import conv_norm_act, scope, upsample
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, of_last, ratio

ZHOU_2018 = Paper(
    "Zhou, Zongwei and Siddiquee, Md Mahfuzur Rahman and Tajbakhsh, Nima and Liang, Jianming",
    2018,
    "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
    "https://arxiv.org/abs/1807.10165",
    "DLMIA",
)

KEY_MAPPING = (
    Rule(r"^decoder\.node(\d+)_(\d+)\.conv(\d)$", r"decoder.blocks.x_\1_\2.conv\3.0"),
    Rule(r"^decoder\.node(\d+)_(\d+)\.norm(\d)$", r"decoder.blocks.x_\1_\2.conv\3.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)


@register_model("unetpp", ZHOU_2018, 26_078_609, ONE_CLASS, task=TASK)
@register_model("unetpp_resnet18", ZHOU_2018, 15_970_449, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("unetpp_resnet34", ZHOU_2018, 26_078_609, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("unetpp_resnet50", ZHOU_2018, 48_985_745, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model("unetpp_mobilenetv2_100", ZHOU_2018, 4_200_721, ONE_CLASS, task=TASK, encoder="mobilenetv2_100")
@dataclass(frozen=True, kw_only=True)
class UNetPlusPlus(Decoder):
    """U-Net++: between encoder and decoder, nodes that upsample a coarser map and join all finer ones before them.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the encoder's
    stride, and the logits are cut back to its size.

    Args:
        filters: filters of the nodes that decode each level, the last at the input's resolution; an encoder of fewer
            levels has the last ones. The other nodes have the channels of the encoder's map.
    """

    filters: tuple[int, ...] = (256, 128, 64, 32, 16)

    head_kernel: ClassVar[int] = 3

    def decode(self, levels):
        coarse = levels[::-1]
        filters = of_last(self.filters, len(coarse))
        nodes = {}
        for end in range(len(coarse) - 1):
            for start in range(end, -1, -1):
                width = filters[end] if start == 0 else coarse[end + 1].map.shape[-1]
                nodes[start, end] = self.node(coarse, nodes, start, end, width)
        last = nodes[0, len(coarse) - 2]
        with scope(f"node0_{len(coarse) - 1}"):
            return double_conv(upsample(last, coarse[-1].stride), filters[-1]), (1,) * len(coarse[-1].stride)

    def node(self, coarse, nodes: dict, start: int, end: int, filters: int):
        """Upsample the node before on the diagonal to the resolution of level `end + 1`, and join its earlier nodes."""
        before = coarse[start].map if start == end else nodes[start, end - 1]
        earlier = [nodes[n, end] for n in range(start + 1, end + 1)]
        x = upsample(before, ratio(coarse[end].stride, coarse[end + 1].stride))
        with scope(f"node{start}_{end}"):
            return double_conv(keras.layers.concatenate([x, *earlier, coarse[end + 1].map]), filters)


def double_conv(x, filters: int):
    return conv_norm_act(conv_norm_act(x, filters, 3), filters, 3)
