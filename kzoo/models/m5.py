"""M3 to M34-res: very deep convolutional networks on raw waveforms."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import TENSORFLOW, Paper, Reference, register_model
from kzoo.nn.blocks import block_sequence, doubling, stage_sequence
from kzoo.nn.layers import act, batch_norm, conv_norm_act, max_pool, scope

DAI_2017 = Paper(
    "Dai, Wei and Dai, Chia and Qu, Shuhui and Li, Juncheng and Das, Samarjit",
    2017,
    "Very Deep Convolutional Neural Networks for Raw Waveforms",
    "https://arxiv.org/abs/1610.00087",
    "ICASSP",
)

URBAN_SOUND = Reference((32000, 1), 10, TENSORFLOW)  # 4 seconds at 8 kHz; UrbanSound8K


# The paper rounds to 0.2, 0.5, 1.8, 3.7 and 4 million; the exact counts are those that philipperemy's implementation
# in Keras publishes (very-deep-convnets-raw-waveforms). Convolutions have biases beside their normalisation: a
# convolution from i to f channels has 3*i*f + 3*f, the first one 80*f + 3*f, the logits c*10 + 10. M34-res adds 2*f
# for the normalisation behind each of its 16 sums.
@register_model("m3", DAI_2017, 221_194, URBAN_SOUND, depths=(1,), width=256)
@register_model("m5", DAI_2017, 559_114, URBAN_SOUND, depths=(1, 1, 1), width=128)
@register_model("m11", DAI_2017, 1_786_442, URBAN_SOUND, depths=(2, 2, 3, 2), width=64, last_pool=False)
@register_model("m18", DAI_2017, 3_683_786, URBAN_SOUND, depths=(4, 4, 4, 4), width=64, last_pool=False)
@register_model(
    "m34_res", DAI_2017, 3_984_154, URBAN_SOUND, depths=(3, 4, 6, 3), width=48, residual=True, last_pool=False
)
@dataclass(frozen=True)
class WaveformNet:
    """Long strided convolution, then stages of convolutions with kernel size 3 between poolings, fully convolutional.

    Maps a waveform `(batch, samples, 1)`, or any feature map, to one whose spatial axes are divided by `pool` to the
    power of its poolings and by `stem_stride`, rounded up. The output of stage n is named `stage<n>`.

    Args:
        depths: number of convolutions (residual blocks of two, if `residual`) in each stage.
        width: filters of the first convolution and of the first stage; each later stage doubles them.
        residual: residual connection around every two convolutions. Where the channels double, each channel of the
            input is repeated; the sum is normalised before its ReLU.
        stem_kernel: kernel size of the first convolution, 10 milliseconds in the paper.
        stem_stride: stride of the first convolution.
        kernel: kernel size of every other convolution.
        pool: size and stride of the max pooling after the first convolution and between the stages.
        last_pool: pool after the last stage too.
        use_bias: biases in the convolutions, although a normalisation follows.
    """

    depths: tuple[int, ...]
    width: int
    residual: bool = False
    stem_kernel: int = 80
    stem_stride: int = 4
    kernel: int = 3
    pool: int = 4
    last_pool: bool = True
    use_bias: bool = True

    def __call__(self, x):
        with scope("stem"):
            x = conv_norm_act(x, self.width, self.stem_kernel, stride=self.stem_stride, use_bias=self.use_bias)
            x = max_pool(x, self.pool)
        pooled = [True] * (len(self.depths) - 1) + [self.last_pool]
        return stage_sequence(
            x, self.stage, depths=self.depths, filters=doubling(self.width, self.depths), pooled=pooled
        )

    def stage(self, x, depth: int, filters: int, pooled: bool):
        x = block_sequence(x, self.block, [(filters,)] * depth)
        return max_pool(x, self.pool) if pooled else x

    def block(self, x, filters: int):
        y = conv_norm_act(x, filters, self.kernel, use_bias=self.use_bias)
        if not self.residual:
            return y
        y = conv_norm_act(y, filters, self.kernel, use_bias=self.use_bias, activation=None)
        return act(batch_norm(keras.layers.add([y, repeated_channels(x, filters)])))


def repeated_channels(x, filters: int):
    """Repeat each channel of `x` so that there are `filters` channels."""
    times = filters // x.shape[-1]
    return x if times == 1 else keras.ops.repeat(x, times, axis=-1)
