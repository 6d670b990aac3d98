"""VoVNet: one-shot aggregation, which concatenates all convolutions of a block once, at its end."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, register_model
from kzoo.nn.blocks import effective_squeeze_excite, separable_conv, stages
from kzoo.nn.layers import act, batch_norm, conv_norm_act, max_pool, scope
from kzoo.nn.naming import STAGES_AND_BLOCKS, Rule, from_zero, logits_to

LEE_2019 = Paper(
    "Lee, Youngwan and Hwang, Joong-won and Lee, Sangrok and Bae, Yuseok and Park, Jongyoul",
    2019,
    "An Energy and GPU-Computation Efficient Backbone Network for Real-Time Object Detection",
    "https://arxiv.org/abs/1904.09730",
    "CVPRW",
)
LEE_2020 = Paper(
    "Lee, Youngwan and Park, Jongyoul",
    2020,
    "CenterMask: Real-Time Anchor-Free Instance Segmentation",
    "https://arxiv.org/abs/1911.06667",
    "CVPR",
)

SEPARABLE = r"conv_dw\."
KEY_MAPPING = (
    Rule(r"^stem\.dwconv(\d)$", r"stem.\1.conv_dw"),
    Rule(r"^stem\.conv1$", "stem.0.conv"),
    Rule(r"^stem\.conv(\d)$", from_zero("stem.{}.conv_pw"), where=SEPARABLE),
    Rule(r"^stem\.conv(\d)$", from_zero("stem.{}.conv")),
    Rule(r"^stem\.norm(\d)$", from_zero("stem.{}.bn")),
    Rule(r"\.chain\.dwconv(\d)$", from_zero(".conv_mid.{}.conv_dw")),
    Rule(r"\.chain\.conv(\d)$", from_zero(".conv_mid.{}.conv_pw"), where=SEPARABLE),
    Rule(r"\.chain\.conv(\d)$", from_zero(".conv_mid.{}.conv")),
    Rule(r"\.chain\.norm(\d)$", from_zero(".conv_mid.{}.bn")),
    Rule(r"\.(reduction|concat)\.conv1$", r".conv_\1.conv"),
    Rule(r"\.(reduction|concat)\.norm1$", r".conv_\1.bn"),
    Rule(r"\.ese\.conv1$", ".attn.fc"),
    STAGES_AND_BLOCKS,
    logits_to("head.fc"),
)


@register_model("vovnet39a", LEE_2019, 22_600_296, depths=(1, 1, 2, 2), length=5, residual=False, gates=False)
@register_model(
    "ese_vovnet19b_dw", LEE_2020, 6_543_080, depths=(1, 1, 1, 1), length=3, separable=True, stem_width=(64, 64, 64)
)
@register_model("ese_vovnet39b", LEE_2020, 24_568_936, depths=(1, 1, 2, 2), length=5)
@register_model("ese_vovnet99b", LEE_2020, 63_199_272, depths=(1, 3, 9, 3), length=5)
@dataclass(frozen=True)
class VoVNet:
    """Three convolutions, then stages of one-shot aggregation blocks; version 2 adds shortcuts and effective SE.

    Maps a feature map to one whose spatial axes are divided by `2 ** (len(depths) + 1)`. The output of stage n is named
    `stage<n>`.

    Args:
        depths: number of blocks in each stage.
        length: number of convolutions in the chain of a block.
        width: filters of each convolution of the chains of each stage.
        filters: output channels of the blocks of each stage.
        separable: depthwise separable convolutions in place of all but the first.
        residual: residual connection around each block but the first of a stage.
        gates: effective squeeze-and-excitation at the end of each stage.
        stem_width: filters of the three first convolutions, of which the first and the last are at stride 2.
        kernel: kernel size of the convolutions; 1-D inputs often want more than 3.

    Raises:
        ValueError: if the hyperparameters with one entry per stage differ in length, or for too small an input.
    """

    depths: tuple[int, ...]
    length: int
    width: tuple[int, ...] = (128, 160, 192, 224)
    filters: tuple[int, ...] = (256, 512, 768, 1024)
    separable: bool = False
    residual: bool = True
    gates: bool = True
    stem_width: tuple[int, int, int] = (64, 64, 128)
    kernel: int = 3

    def __call__(self, x):
        first, second, third = self.stem_width
        with scope("stem"):
            x = conv_norm_act(x, first, 3, stride=2)
            x = self.convolution(x, second, 3)
            x = self.convolution(x, third, 3, stride=2)
        return stages(
            x,
            self.block,
            depths=self.depths,
            strides=[1] + [2] * (len(self.depths) - 1),
            width=self.width,
            filters=self.filters,
            residual=[(False, self.residual)] * len(self.depths),
            gates=[(False,) * (depth - 1) + (self.gates,) for depth in self.depths],
        )

    def block(self, x, stride: int, width: int, filters: int, residual: bool, gate: bool):
        x = max_pool(x, 3, stride=stride, padding="ceil") if stride > 1 else x
        y = self.aggregated(x, width)
        with scope("concat"):
            y = conv_norm_act(y, filters, 1)
        y = effective_squeeze_excite(y) if gate else y
        return keras.layers.add([y, x]) if residual else y

    def aggregated(self, x, width: int):
        outputs = [x]
        if self.separable and x.shape[-1] != width:
            with scope("reduction"):
                x = conv_norm_act(x, width, 1)
        with scope("chain"):
            for _ in range(self.length):
                x = self.convolution(x, width, self.kernel)
                outputs.append(x)
        return keras.layers.concatenate(outputs)

    def convolution(self, x, filters: int, kernel: int, stride: int = 1):
        if self.separable:
            return act(batch_norm(separable_conv(x, filters, kernel, stride=stride)))
        return conv_norm_act(x, filters, kernel, stride=stride)
