"""XceptionTime: parallel depthwise separable convolutions and adaptive pooling, for time-series classification."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import PYTORCH, Paper, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.blocks import block_sequence, projection_shortcut, separable_conv, stage_sequence
from kzoo.nn.layers import act, adaptive_avg_pool, conv, conv_norm_act, max_pool, scope

RAHIMIAN_2019 = Paper(
    "Rahimian, Elahe and Zabihi, Soheil and Atashzar, Seyed Farokh and Asif, Amir and Mohammadi, Arash",
    2019,
    "XceptionTime: A Novel Deep Architecture based on Depthwise Separable Convolutions for Hand Gesture Classification",
    "https://arxiv.org/abs/1911.03803",
)


# tsai counts 399,220. Its last layer gives the logits by a convolution without bias, a normalisation and a ReLU,
# 128 * 2 + 2 * 2 = 260 parameters; the zoo's linear layer has 128 * 2 + 2 = 258.
@register_model("xceptiontime", RAHIMIAN_2019, 399_218, GUNPOINT._replace(dialect=PYTORCH))
@dataclass(frozen=True)
class XceptionTime:
    """Residual stages of Xception modules, whose filters double from one module to the next.

    Maps a feature map to one of `positions` positions along each axis. The output of residual stage n is named
    `stage<n>`. Modules have neither normalisation nor activation; both follow the sum with the shortcut.

    Args:
        depths: number of modules under each shortcut.
        filters: kernels of each branch of the first module; there is one branch more than `kernels`.
        kernels: kernel sizes of a module's parallel convolutions; the last branch is a pooling.
        positions: size of the last feature map, by adaptive average pooling, whatever the length of the input.
    """

    depths: tuple[int, ...] = (2, 2)
    filters: int = 16
    kernels: tuple[int, ...] = (39, 19, 9)
    positions: int = 50

    def __call__(self, x):
        filters = [self.filters * 2 ** sum(self.depths[:stage]) for stage in range(len(self.depths))]
        x = stage_sequence(x, self.residual_stage, depths=self.depths, filters=filters)
        with scope("head"):
            return self.summary(x)

    def residual_stage(self, x, depth: int, filters: int):
        y = block_sequence(x, self.xception_module, [(filters * 2**block,) for block in range(depth)])
        x = projection_shortcut(x, y.shape[-1])
        return act(keras.layers.add([x, y]))

    def xception_module(self, x, filters: int):
        bottleneck = conv(x, filters, 1, use_bias=False)
        branches = [separable_conv(bottleneck, filters, kernel) for kernel in self.kernels]
        pooled = conv(max_pool(x, 3, stride=1), filters, 1, use_bias=False)
        return keras.layers.concatenate([*branches, pooled])

    def summary(self, x):
        width = x.shape[-1]
        x = adaptive_avg_pool(x, self.positions)
        x = conv_norm_act(x, width // 2, 1)
        return conv_norm_act(x, width // 4, 1)
