"""PSPNet: a feature map joined with averages of it over pyramids of regions."""

from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.layers import adaptive_avg_pool, conv, conv_norm_act, interpolate, scope, spatial_dropout
from kzoo.nn.naming import Rule
from kzoo.nn.pyramid import ONE_CLASS, TASK, Decoder, Encoder

ZHAO_2017 = Paper(
    "Zhao, Hengshuang and Shi, Jianping and Qi, Xiaojuan and Wang, Xiaogang and Jia, Jiaya",
    2017,
    "Pyramid Scene Parsing Network",
    "https://arxiv.org/abs/1612.01105",
    "CVPR",
)

KEY_MAPPING = (
    Rule(r"^decoder\.pool(\d+)\.conv1$", r"decoder.psp.blocks.\1.pool.1.0"),
    Rule(r"^decoder\.pool(\d+)\.norm1$", r"decoder.psp.blocks.\1.pool.1.1"),
    Rule(r"^decoder\.conv1$", "decoder.conv.0"),
    Rule(r"^decoder\.norm1$", "decoder.conv.1"),
    Rule(r"^logits$", "segmentation_head.0"),
)
IGNORE_UNEXPECTED = (r"^encoder\.layer[34]\.",)  # segmentation_models_pytorch keeps what it does not compute


# segmentation_models_pytorch counts 11,329,825, 21,437,985 and 24,300,993, with the encoder's last two stages, which it
# does not compute: less 10,493,440, 19,936,768 and 22,063,104 of them.
@register_model("pspnet", ZHAO_2017, 1_501_217, ONE_CLASS, task=TASK)
@register_model("pspnet_resnet18", ZHAO_2017, 836_385, ONE_CLASS, task=TASK, encoder="resnet18")
@register_model("pspnet_resnet34", ZHAO_2017, 1_501_217, ONE_CLASS, task=TASK, encoder="resnet34")
@register_model("pspnet_resnet50", ZHAO_2017, 2_237_889, ONE_CLASS, task=TASK, encoder="resnet50")
@dataclass(frozen=True, kw_only=True)
class PSPNet(Decoder):
    """Pyramid pooling on one feature map of an encoder, of which later stages are left out.

    The input may have any size: it is padded with zeros, at the ends of its axes, to a multiple of that map's stride,
    and the logits, of that stride, are interpolated and cut back to its size.

    Args:
        stride: largest stride of the encoder's map that is used.
        sizes: number of regions along each axis that the map is averaged over, for each branch.
        width: channels before the logits.
        dropout: rate of whole channels before the logits, in [0, 1).
    """

    stride: int = 8
    sizes: tuple[int, ...] = (1, 2, 3, 6)
    width: int = 512
    dropout: float = 0.2

    head_kernel: ClassVar[int] = 3

    def pyramid(self, x):
        return Encoder(self.encoder, self.output_stride, deepest=self.stride)(x)

    def decode(self, levels):
        stride, x = levels[-1]
        x = keras.layers.concatenate([*(self.averages(x, n, size) for n, size in enumerate(self.sizes)), x])
        return spatial_dropout(conv_norm_act(x, self.width, 1), self.dropout), stride

    def averages(self, x, number: int, size: int):
        """Return averages over regions, projected and interpolated to the size of `x`; a single one has no norm."""
        y, filters = adaptive_avg_pool(x, size), x.shape[-1] // len(self.sizes)
        with scope(f"pool{number}"):
            y = conv_norm_act(y, filters, 1) if size > 1 else conv(y, filters, 1, activation="relu")
        return interpolate(y, x, align_corners=True)
