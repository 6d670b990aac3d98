"""Building blocks shared by several architectures: stages, residual branches, attention, separable convolutions."""

import math
from collections.abc import Callable, Iterable, Sequence

from kzoo.core.lazy import keras
from kzoo.nn.layers import (
    Size,
    act,
    address,
    batch_norm,
    blur_pool,
    channel_scale,
    conv,
    conv_norm_act,
    dense,
    depthwise_conv,
    dilated,
    drop_path,
    dropout,
    global_avg_pool,
    max_pool,
    named_output,
    scope,
    stage_rates,
)


def squeeze_excite(
    x, ratio: float, *, divisor: int = 1, activation: str = "relu", gate: str = "sigmoid", use_bias: bool = True
):
    """Squeeze-and-excitation: scale each channel by a gate computed from global average pooling.

    Hu, Shen, Sun, 2018, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.

    Args:
        x: feature map with C channels.
        ratio: bottleneck channels as a fraction of C, in (0, 1].
        divisor: the bottleneck channels are rounded to a multiple of this.
        activation: Keras name of the bottleneck's activation.
        gate: Keras name of the gate's activation.
        use_bias: biases in both layers.
    """
    channels = x.shape[-1]
    hidden = max(1, round(channels * ratio)) if divisor == 1 else divisible(channels * ratio, divisor)
    y = global_avg_pool(x, keepdims=True)
    with scope("se"):
        y = conv(y, hidden, 1, activation=activation, use_bias=use_bias)
        y = conv(y, channels, 1, activation=gate, use_bias=use_bias)
    return keras.layers.multiply([x, y])


def effective_squeeze_excite(x):
    """Effective squeeze-and-excitation: one convolution, without a bottleneck, computes the channel gates.

    Lee, Park, 2020, CenterMask, https://arxiv.org/abs/1911.06667.
    """
    with scope("ese"):
        gate = conv(global_avg_pool(x, keepdims=True), x.shape[-1], 1, activation="hard_sigmoid")
    return keras.layers.multiply([x, gate])


def efficient_channel_attention(x):
    """Efficient channel attention (ECA): channel gates by a 1-D convolution over the pooled channels.

    Wang et al., 2020, ECA-Net, https://arxiv.org/abs/1910.03151. The kernel size grows with the logarithm of the
    channels.
    """
    channels = x.shape[-1]
    size = int((math.log2(channels) + 1) / 2)
    y = keras.layers.Reshape((channels, 1))(global_avg_pool(x))
    with scope("eca"), dilated(None):
        y = conv(y, 1, max(3, size | 1), use_bias=False, activation="sigmoid")
    return keras.layers.multiply([x, keras.layers.Reshape((*(1,) * (x.ndim - 2), channels))(y)])


def split_attention(maps: Sequence, hidden: int, *, use_bias: bool = True):
    """Split attention: sum feature maps of one shape, weighted for each channel by a softmax over the maps.

    Li et al., 2019, Selective Kernel Networks, https://arxiv.org/abs/1903.06586; Zhang et al., 2020, ResNeSt,
    https://arxiv.org/abs/2004.08955.

    Args:
        maps: feature maps with C channels.
        hidden: bottleneck channels of the attention.
        use_bias: biases in both convolutions of the attention.
    """
    *ones, channels = (1,) * (maps[0].ndim - 2) + maps[0].shape[-1:]
    y = global_avg_pool(keras.layers.add(maps), keepdims=True)
    with scope("attention"):
        y = conv_norm_act(y, hidden, 1, use_bias=use_bias)
        y = conv(y, len(maps) * channels, 1, use_bias=use_bias)
    weights = keras.ops.softmax(keras.layers.Reshape((len(maps), *ones, channels))(y), axis=1)
    return keras.ops.sum(keras.ops.stack(maps, axis=1) * weights, axis=1)


def divisible(channels: float, divisor: int = 8, least: float = 0.9) -> int:
    """Round to the nearest multiple of `divisor` that is positive and at least the fraction `least` of `channels`."""
    rounded = max(1, math.floor(channels / divisor + 0.5)) * divisor
    return rounded if rounded >= least * channels else rounded + divisor


def scaled_widths(widths: Iterable[int], multiplier: float, least: float = 0.9) -> tuple[int, ...]:
    """Return widths times a multiplier, each made `divisible`."""
    return tuple(divisible(width * multiplier, least=least) for width in widths)


def zip_stages(**fields: Sequence) -> zip:
    """Zip hyperparameters that have one entry for each stage.

    Raises:
        ValueError: if they differ in length.
    """
    if len({len(entries) for entries in fields.values()}) > 1:
        given = " and ".join(str(entries) for entries in fields.values())
        raise ValueError(f"{' and '.join(fields)} must have equally many entries, got {given}")
    return zip(*fields.values(), strict=True)


def stages(
    x,
    block: Callable,
    *,
    depths: Sequence[int],
    strides: Sequence[int],
    stride_in_last: bool = False,
    **fields: Sequence,
):
    """Apply the blocks of each stage in turn: the body of an architecture that is given as a table.

    A block is `block(x, stride, ...)` with the stage's entry of each field; the first block of a stage has its stride,
    all others stride 1. The output of stage n is named `stage<n>`, the layers of its blocks `stage<n>.block<m>.*`.

    Args:
        x: feature map.
        block: a function from feature map to feature map.
        depths: number of blocks in each stage.
        strides: stride of each stage.
        stride_in_last: the last block of each stage has its stride, not the first.
        **fields: further arguments of the blocks, one entry for each stage. An entry that is a tuple has a value for
            each block of its stage, of which the last stands for all blocks after it.

    Raises:
        ValueError: if the fields differ in length.
    """

    def stage(x, depth: int, stride: int, *entries):
        strided = depth - 1 if stride_in_last else 0
        rows = [(stride if n == strided else 1, *(of_block(entry, n) for entry in entries)) for n in range(depth)]
        return block_sequence(x, block, rows)

    return stage_sequence(x, stage, depths=depths, strides=strides, **fields)


def stage_sequence(x, stage: Callable, **fields: Sequence):
    """Apply `stage(x, ...)` once for each entry of the fields, naming its layers `stage1.*` and its output `stage1`.

    Args:
        x: feature map.
        stage: a function from feature map to feature map.
        **fields: what it is given besides, by position: one entry for each stage.

    Raises:
        ValueError: if the fields differ in length.
    """
    for number, row in enumerate(zip_stages(**fields), start=1):
        with scope(f"stage{number}"), dilated(stage_rates(f"stage{number}")):
            x = stage(x, *row)
        x = named_output(x, f"stage{number}")
    return x


def named_stages(x, *parts: Callable):
    """Apply functions in turn, naming the layers of the nth `stage<n>.*` and its output `stage<n>`."""
    return stage_sequence(x, lambda x, part: part(x), parts=parts)


def channels_as_axis(x):
    """Give the channels of series an axis of their own: (batch, time, channels) becomes (batch, time, channels, 1)."""
    return keras.ops.expand_dims(x, axis=-1)


def across_channels(convolution: Callable, x, **options):
    """Convolve (batch, time, channels, maps) over all channels, which leaves series (batch, time, filters).

    Args:
        convolution: `conv` or `depthwise_conv`.
        x: of `channels_as_axis`, mostly after temporal convolutions.
        **options: of the convolution.
    """
    return keras.ops.squeeze(convolution(x, kernel=(1, x.shape[2]), padding="valid", **options), axis=2)


def block_sequence(x, block: Callable, rows: Iterable[tuple]):
    """Apply `block(x, *row)` once for each row of arguments, naming its layers `block0.*`, `block1.*`, and so on."""
    for number, row in enumerate(rows):
        with scope(f"block{number}"):
            x = block(x, *row)
    return x


def of_block(entry, number: int):
    """Return a stage's value for one block: that of a tuple, whose last value stands for all blocks after it."""
    return entry[min(number, len(entry) - 1)] if isinstance(entry, tuple) else entry


def residual_stages(
    x,
    block: Callable,
    depths: Sequence[int],
    width: int,
    drop_path: float = 0.0,
    *,
    first_stride: int = 1,
    stride_in_last: bool = False,
    **fields: Sequence,
):
    """Apply stages of `block(x, stride, filters, drop_rate, ...)`, each with twice the filters and half the resolution.

    Args:
        x: feature map.
        block: a function from feature map to feature map.
        depths: number of blocks in each stage.
        width: filters of the first stage.
        drop_path: stochastic depth rate after the last block, to which the rates rise linearly.
        first_stride: stride of the first stage; all others have stride 2.
        stride_in_last: the last block of each stage but the last is strided, not the first of the next stage.
        **fields: as of `stages`.
    """
    strides = (first_stride,) + (2,) * (len(depths) - 1)
    return stages(
        x,
        block,
        depths=depths,
        strides=strides[::-1] if stride_in_last else strides,
        stride_in_last=stride_in_last,
        filters=doubling(width, depths),
        drop_rates=rising_rates(drop_path, depths),
        **fields,
    )


def doubling(width: int, depths: Sequence[int]) -> list[int]:
    """Return the filters of stages of which the first has `width` and each later one twice those of the one before."""
    return [width * 2**n for n in range(len(depths))]


def rising_rates(rate: float, depths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return the stochastic depth rate of each block of each stage, rising linearly from 0 to nearly `rate`.

    Huang et al., 2016, Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """
    firsts = [sum(depths[:stage]) for stage in range(len(depths))]
    return tuple(
        tuple(rate * (first + block) / sum(depths) for block in range(depth))
        for first, depth in zip(firsts, depths, strict=True)
    )


def basic_branch(x, filters: int, kernel: Size = 3, *, stride: Size = 1):
    """Residual branch of a basic block: two convolutions, the second without activation."""
    x = conv_norm_act(x, filters, kernel, stride=stride)
    return conv_norm_act(x, filters, kernel, activation=None)


def bottleneck_branch(
    x,
    filters: int,
    inner: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    groups: int = 1,
    excite: Callable = lambda x: x,
    zero_gamma: bool = False,
):
    """Residual branch of a bottleneck block: a convolution between two pointwise ones, the last without activation.

    He et al., 2016, Deep Residual Learning, https://arxiv.org/abs/1512.03385.

    Args:
        x: feature map.
        filters: channels of the result.
        inner: bottleneck channels.
        kernel: kernel size of the spatial convolution.
        stride: stride of the spatial convolution.
        groups: groups of the spatial convolution.
        excite: channel attention on the bottleneck.
        zero_gamma: initialise the branch to zero.
    """
    x = conv_norm_act(x, inner, 1)
    x = excite(conv_norm_act(x, inner, kernel, stride=stride, groups=groups))
    return conv_norm_act(x, filters, 1, activation=None, zero_gamma=zero_gamma)


def inverted_residual(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    expansion: float = 6,
    activation: str = "relu6",
    excite: Callable = lambda x: x,
    drop_rate: float = 0.0,
    blur: bool = False,
):
    """Inverted residual: expand the channels, depthwise convolution, linear projection.

    Sandler et al., 2018, MobileNetV2, https://arxiv.org/abs/1801.04381.

    Args:
        x: feature map with C channels.
        filters: channels of the result; if they are C, at stride 1, `x` is added.
        kernel: kernel size of the depthwise convolution.
        stride: stride of the depthwise convolution.
        expansion: expansion ratio: hidden channels as a multiple of C; 1 leaves out the expansion.
        activation: activation of the hidden channels; the projection is linear.
        excite: channel attention on the hidden channels.
        drop_rate: stochastic depth rate.
        blur: as of `depthwise_norm_act`.
    """
    y = conv_norm_act(x, divisible(x.shape[-1] * expansion), 1, activation=activation) if expansion != 1 else x
    y = excite(depthwise_norm_act(y, kernel, stride=stride, activation=activation, blur=blur))
    y = conv_norm_act(y, filters, 1, activation=None)
    return add_where_shape_is_kept(x, y, stride, drop_rate)


def add_where_shape_is_kept(x, y, stride: Size, drop_rate: float = 0.0):
    """Add the input of a residual branch to its output `y` where their shapes are equal."""
    return keras.layers.add([x, drop_path(y, drop_rate)]) if stride == 1 and x.shape[-1] == y.shape[-1] else y


def add_to_shortcut(x, y, stride: Size = 1, drop_rate: float = 0.0):
    """Add the output `y` of a residual branch to its input, projected where the shapes differ; then activate."""
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = projection_shortcut(x, y.shape[-1], stride)
    return act(keras.layers.add([drop_path(y, drop_rate), x]))


def projection_shortcut(x, filters: int, stride: Size = 1, activation: str | None = None):
    """Project the input of a residual branch to its output's shape: a strided 1x1 convolution, normalised."""
    with scope("shortcut"):
        return conv_norm_act(x, filters, 1, stride=stride, activation=activation)


def depthwise_norm_act(x, kernel: Size = 3, *, stride: Size = 1, activation: str | None = "relu", blur: bool = False):
    """Depthwise convolution, batch normalisation, activation.

    With `blur` a strided convolution is computed at stride 1 and blurred before subsampling (anti-aliasing): Zhang,
    2019, Making Convolutional Networks Shift-Invariant Again, https://arxiv.org/abs/1904.11486.
    """
    if blur and stride != 1:
        return blur_pool(depthwise_norm_act(x, kernel, activation=activation), stride=stride)
    return act(batch_norm(depthwise_conv(x, kernel, stride=stride, use_bias=False)), activation)


def max_blur_pool(x):
    """Anti-aliased max pooling: a maximum over 2 at stride 1, then a strided blur.

    Zhang, 2019, Making Convolutional Networks Shift-Invariant Again, https://arxiv.org/abs/1904.11486, with the filter
    (1, 2, 1) / 4. The result has the size of unpadded max pooling over 2.
    """
    return blur_pool(max_pool(x, 2, stride=1, padding="valid"))


def patches(x, filters: int, size: Size, *, use_bias: bool = True):
    """Patch embedding: a convolution whose kernel size and stride are `size`; incomplete patches are dropped."""
    return conv(x, filters, size, stride=size, padding="valid", use_bias=use_bias)


def layer_scale(x, initial: float):
    """Layer scale: multiply each channel of a branch by a learned factor initialised to `initial`; 0 for none.

    Touvron et al., 2021, Going deeper with Image Transformers, https://arxiv.org/abs/2103.17239.
    """
    return channel_scale(x, initial) if initial else x


def global_response_norm(x, epsilon: float = 1e-6):
    """Global response normalisation: scale each channel by its spatial norm over the mean norm of all channels.

    Woo et al., 2023, ConvNeXt V2, https://arxiv.org/abs/2301.00808. It is initialised to the identity.
    """
    ops, wide = keras.ops, keras.ops.cast(x, "float32")  # squares overflow float16
    energy = ops.sum(ops.square(wide), axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    norms = ops.sqrt(ops.maximum(energy, 1e-30))  # a finite gradient for a channel of zeros
    relative = norms / (ops.mean(norms, axis=-1, keepdims=True) + epsilon)
    with scope("response"):
        y = channel_scale(x * ops.cast(relative, x.dtype), 0.0, use_bias=True)
    return keras.layers.add([x, y])


def branched_conv(x, filters: int, kernel: int = 3, *, stride: int = 1, groups: int = 1, branches: int = 1):
    """Multi-branch convolution: the sum of normalised convolutions and, where the shape allows, the normalised input.

    Ding et al., 2021, RepVGG, https://arxiv.org/abs/2101.03697. For inference `kzoo.zoo.reparameterize` fuses the
    branches into one convolution with a bias.

    Args:
        x: feature map.
        filters: channels of the result.
        kernel: kernel size of the convolutions; above 1 there is a pointwise branch too.
        stride: stride of every branch.
        groups: groups of every branch; as many as channels give depthwise convolutions.
        branches: number of convolutions of that kernel size.
    """

    def branch(name: str, width: int):
        with scope(name):
            if groups == x.shape[-1] == filters:
                return batch_norm(depthwise_conv(x, width, stride=stride, use_bias=False))
            return batch_norm(conv(x, filters, width, stride=stride, groups=groups, use_bias=False))

    terms = [branch(f"branch{n}", kernel) for n in range(branches)]
    if kernel > 1:
        terms.append(branch("pointwise", 1))
    if stride == 1 and filters == x.shape[-1]:
        with scope("identity"):
            terms.append(batch_norm(x))
    return keras.layers.Add(name=address("branches"))(terms)


def separable_conv(x, filters: int, kernel: Size = 3, *, stride: Size = 1, dilation: Size = 1):
    """Depthwise separable convolution: a depthwise and a pointwise convolution, without biases."""
    x = depthwise_conv(x, kernel, stride=stride, dilation=dilation, use_bias=False)
    return conv(x, filters, 1, use_bias=False)


def separable_norm(x, filters: int, kernel: Size = 3, *, stride: Size = 1, dilation: Size = 1):
    """Depthwise separable convolution with one batch normalisation at its end."""
    return batch_norm(separable_conv(x, filters, kernel, stride=stride, dilation=dilation))


def repeated_branch(x, layer: Callable, repeats: int, finish: Callable):
    """Residual branch of `repeats` equal layers, with `finish` (activation, dropout) between them but not at the end.

    The block of Jasper, Li et al., 2019, https://arxiv.org/abs/1904.03288.
    """
    x = layer(x)
    for _ in range(repeats - 1):
        x = layer(finish(x))
    return x


def separable_norm_act(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    use_bias: bool = False,
    activation: str = "relu",
    scale: bool = True,
):
    """Depthwise separable convolution with batch normalisation and activation after both of its steps.

    Howard et al., 2017, MobileNets, https://arxiv.org/abs/1704.04861.

    Args:
        x: feature map.
        filters: channels of the result.
        kernel: kernel size of the depthwise convolution.
        stride: stride of the depthwise convolution.
        use_bias: biases in both convolutions, although a normalisation follows.
        activation: activation after both steps.
        scale: learn a scale (gamma) in both normalisations.
    """
    x = act(batch_norm(depthwise_conv(x, kernel, stride=stride, use_bias=use_bias), scale=scale), activation)
    return conv_norm_act(x, filters, 1, use_bias=use_bias, activation=activation, scale=scale)


def dense_layers(x, units: Sequence[int], dropout_rate: float = 0.0, activation: str = "relu"):
    """Fully connected layers with these `units`, each followed by dropout."""
    for width in units:
        x = dropout(dense(x, width, activation), dropout_rate)
    return x


def conv_sequence(x, *convolutions: tuple, multiplier: float = 1, scale: bool = True):
    """Sequence of convolutions, each with batch normalisation and ReLU: a branch of an inception module.

    Szegedy et al., 2016, Rethinking the Inception Architecture, https://arxiv.org/abs/1512.00567.

    Args:
        x: feature map.
        *convolutions: filters and kernel size of each; a third number is the stride of an unpadded convolution.
        multiplier: multiplier of all filters.
        scale: learn a scale (gamma) in batch normalisation.
    """
    for filters, kernel, *stride in convolutions:
        filters = max(1, round(multiplier * filters))
        options = {"stride": stride[0], "padding": "valid"} if stride else {}
        x = conv_norm_act(x, filters, kernel, scale=scale, **options)
    return x


def inception_stem(x, multiplier: float = 1, scale: bool = True):
    """Stem of Inception v3 and its successors, mostly unpadded; total stride 8."""
    x = conv_sequence(x, (32, 3, 2), (32, 3, 1), (64, 3), multiplier=multiplier, scale=scale)
    x = max_pool(x, 3, stride=2, padding="valid")
    x = conv_sequence(x, (80, 1), (192, 3, 1), multiplier=multiplier, scale=scale)
    return max_pool(x, 3, stride=2, padding="valid")


def repeated_ends(x, before: int = 0, after: int = 0):
    """Return a series (batch, time, ...) with its first and its last position repeated as often as said."""
    ends = [x[:, :1]] * before, [x[:, -1:]] * after
    return keras.ops.concatenate([*ends[0], x, *ends[1]], axis=1) if before or after else x
