"""LinkNet: bottlenecks with a transposed convolution, each added to the encoder's feature map of its resolution."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import act, batch_norm, conv_norm_act, conv_transpose, scope
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, skips, steps_up

CHAURASIA_2017 = Paper(
    "Chaurasia, Abhishek and Culurciello, Eugenio",
    2017,
    "LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation",
    "https://arxiv.org/abs/1707.03718",
    "VCIP",
)

KEY_MAPPING = (
    Rule(r"^decoder\.block(\d+)\.conv1$", r"decoder.blocks.\1.block.0.0"),
    Rule(r"^decoder\.block(\d+)\.norm1$", r"decoder.blocks.\1.block.0.1"),
    Rule(r"^decoder\.block(\d+)\.conv2$", r"decoder.blocks.\1.block.1.0"),
    Rule(r"^decoder\.block(\d+)\.norm2$", r"decoder.blocks.\1.block.1.1"),
    Rule(r"^decoder\.block(\d+)\.conv3$", r"decoder.blocks.\1.block.2.0"),
    Rule(r"^decoder\.block(\d+)\.norm3$", r"decoder.blocks.\1.block.2.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)


@register_model("linknet", CHAURASIA_2017, 21_771_937, ONE_CLASS, task=TASK)
@register_model("linknet_resnet18", CHAURASIA_2017, 11_663_777, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("linknet_resnet34", CHAURASIA_2017, 21_771_937, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("linknet_resnet50", CHAURASIA_2017, 31_177_777, ONE_CLASS, task=TASK, encoder="resnet50")
@register_model("linknet_mobilenetv2_100", CHAURASIA_2017, 1_963_459, ONE_CLASS, task=TASK, encoder="mobilenetv2_100")
@dataclass(frozen=True, kw_only=True)
class LinkNet(Decoder):
    """LinkNet: each step up adds the encoder's map of that resolution.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of the encoder's
    stride, and the logits are cut back to its size.

    Args:
        width: channels at the input's resolution.
    """

    width: int = 32

    def decode(self, levels):
        joined, x = skips(levels), levels[-1].map
        for n, (factor, stride) in enumerate(steps_up(levels)):
            skip, last = joined.get(stride), max(stride) == 1
            filters = self.width if last and skip is None else (x if skip is None else skip).shape[-1]
            with scope(f"block{n}"):
                x = self.step(x, filters, factor)
            x = x if skip is None else keras.layers.add([x, skip])
        return x, stride

    def step(self, x, filters: int, factor: tuple[int, ...]):
        inner = x.shape[-1] // 4
        x = conv_norm_act(x, inner, 1)
        x = act(batch_norm(conv_transpose(x, inner, tuple(2 * n * (n > 1) or 1 for n in factor), stride=factor)))
        return conv_norm_act(x, filters, 1)
