"""cifar10-airbench: a CIFAR-10 network with a whitening first layer, designed for the shortest training time."""

from dataclasses import dataclass

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import act, address, batch_norm, conv, global_max_pool, max_pool, per_axis, scope

handcrafted = lazy_import("kzoo.nn.handcrafted")

JORDAN_2024 = Paper(
    "Jordan, Keller",
    2024,
    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
    "https://arxiv.org/abs/2404.00498",
)


# The paper rounds to 1.97 million. Trainable are 24 biases of the first layer, 9*i*f weights of each convolution from i
# to f channels and f for the normalisation behind it, and 256*10 weights of the logits, which have no bias.
@register_model("airbench94", JORDAN_2024, 1_971_352, Reference((32, 32, 3), 10, PYTORCH), widths=(64, 256, 256))
@dataclass(frozen=True)
class Airbench:
    """Whitening convolution, then stages of two convolutions with max pooling right after the first.

    The early pooling lets the memory-bound normalisations and activations run on a quarter of the positions. Maps a
    feature map to one whose spatial axes are divided by 2 to the power of the number of stages, rounded down. The
    output of stage n is named `stage<n>`. `kzoo.fit` computes the filters of the whitening convolution from the
    training inputs.

    Args:
        widths: filters of each stage.
        stem_kernel: kernel size of the whitening convolution.
        kernel: kernel size of every other convolution.
        depth: number of convolutions in each stage.
        activation: Keras name of the activation; on CPUs "relu" takes a fraction of the time of "gelu".
        scale: the logits are multiplied by this.
    """

    widths: tuple[int, ...]
    stem_kernel: int = 2
    kernel: int = 3
    depth: int = 2
    activation: str = "gelu"
    scale: float = 1 / 9

    def __call__(self, x):
        with scope("stem"):
            x = act(handcrafted.WhitenedConv(per_axis(x, self.stem_kernel), name=address("conv"))(x), self.activation)
        return global_max_pool(stage_sequence(x, self.stage, widths=self.widths))

    def stage(self, x, width: int):
        for number in range(self.depth):
            x = conv(x, width, self.kernel, use_bias=False)
            if number == 0:
                x = max_pool(x, 2, padding="valid")
            x = act(batch_norm(x, scale=False), self.activation)
        return x

    def logits(self, x, num_classes: int):
        x = keras.layers.Dense(num_classes, use_bias=False, dtype="float32", name="logits")(x)
        return keras.layers.Rescaling(self.scale, dtype="float32")(x)
