"""Layer functions of the zoo: from feature map to feature map, for 1-D and 2-D inputs alike.

A *feature map* is a channels-last Keras tensor: `(batch, length, channels)` for waveforms, embedded tokens and time
series, `(batch, height, width, channels)` for images and spectrograms. Each function reads the rank from its first
argument, so that an architecture written in these functions is 1-D or 2-D by its input. A kernel size, stride or
dilation is one integer for all spatial axes, or a tuple with one per axis, of which a 1-D input takes the first."""

from __future__ import annotations

import contextlib
import contextvars
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from kzoo.core.lazy import keras, lazy_import
from kzoo.core.registry import PYTORCH, Dialect, lookup

grouped = lazy_import("kzoo.nn.grouped")
resizing = lazy_import("kzoo.nn.resizing")
standardized = lazy_import("kzoo.nn.standardized")
subpixel = lazy_import("kzoo.nn.subpixel")

Size = int | tuple[int, ...]

_dialect = contextvars.ContextVar("dialect", default=PYTORCH)
_first_axis = contextvars.ContextVar("first_axis", default=False)
_scopes = contextvars.ContextVar("scopes", default=())  # ((name, counter of the layers named in it), ...)
_rates = contextvars.ContextVar("rates", default=None)  # `Rates` in a stage whose stride is replaced by dilation
_recorder = contextvars.ContextVar("recorder", default=None)  # of the feature maps of an encoder
_time = contextvars.ContextVar("time", default=None)  # the spatial axis along which windows are causal


class InputTooSmall(ValueError):
    """A feature map is smaller than an unpadded kernel or pooling window, or than the stride of an encoder."""


class Rates(NamedTuple):
    """Dilation rates in a stage whose stride is replaced by dilation: of its strided layers, and of all others."""

    strided: int
    others: int


class Recorder(NamedTuple):
    """What an encoder is asked for: its named feature maps, until the last one that is needed.

    Attributes:
        maps: feature maps by name, in the order of computation.
        prefix: of the names of their layers.
        last: name of the last one that is needed; None for all.
        rates: dilation rates of the stages whose stride is replaced by dilation, by name.
    """

    maps: dict
    prefix: str
    last: str | None
    rates: Mapping[str, Rates]


class LastMapRecorded(Exception):
    """The last feature map that is needed of an encoder is computed; what follows in it need not be built."""


@contextlib.contextmanager
def written_in(dialect: Dialect):
    """Build every layer inside with the conventions (padding, BatchNorm epsilon and momentum) of a framework."""
    token = _dialect.set(dialect)
    try:
        yield
    finally:
        _dialect.reset(token)


@contextlib.contextmanager
def along_first_axis():
    """Restrict every kernel and pooling window inside to the first spatial axis.

    A 2-D network built inside processes each column of an image independently; on images of one column it equals the
    1-D network, weight for weight.
    """
    token = _first_axis.set(True)
    try:
        yield
    finally:
        _first_axis.reset(token)


@contextlib.contextmanager
def causal_along(axis: int | None):
    """Let windows inside see nothing to come along one spatial axis, that of time; None for no such axis.

    Along it every convolution and pooling, whatever its own padding, is padded before the first position alone, by its
    reach less its stride: n positions become n / stride, rounded down, and the one at t depends on those before
    (t + 1) * stride. Average pooling counts that padding as zeros.
    """
    token = _time.set(axis)
    try:
        yield
    finally:
        _time.reset(token)


@contextlib.contextmanager
def scope(name: str):
    """Name every layer built inside `<outer scopes>.<name>.<kind><n>`, so that weights have stable addresses."""
    token = _scopes.set((*_scopes.get(), (name, Counter())))
    try:
        yield
    finally:
        _scopes.reset(token)


@contextlib.contextmanager
def dilated(rates: Rates | None):
    """Replace the strides of all layers inside by dilation, at these rates; None leaves them as they are."""
    token = _rates.set(rates)
    try:
        yield
    finally:
        _rates.reset(token)


def replaced(x, stride: Size, dilation: Size, padding: str | Size) -> tuple[Size, Size, str | Size]:
    """Return stride, dilation and padding of a layer on `x`: as given, or with dilation in place of the stride."""
    rates = _rates.get()
    if rates is None:
        return stride, dilation, padding
    strided = set(per_axis(x, stride)) != {1}
    rate = rates.strided if strided else rates.others
    dilation = tuple(rate * step for step in per_axis(x, dilation))
    return 1, dilation, "same" if strided or not isinstance(padding, str) else padding


@contextlib.contextmanager
def recording(prefix: str, last: str | None = None, rates: Mapping[str, Rates] = MappingProxyType({})):
    """Collect the feature maps of an encoder inside, until the one called `last`; the arguments are of `Recorder`.

    Yields a dictionary of the maps that are `noted` or named, and of the activations in its stem.
    """
    recorder = Recorder({}, prefix, last, rates)
    token = _recorder.set(recorder)
    try:
        yield recorder.maps
    except LastMapRecorded:
        pass
    finally:
        _recorder.reset(token)


def noted(x, name: str):
    """Let decoders find a feature map by name; no layer is added."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.maps[name] = x
        if name == recorder.last:
            raise LastMapRecorded
    return x


def stage_rates(stage: str) -> Rates | None:
    """Return the dilation rates of a stage of an encoder by name; None where its strides are kept."""
    recorder = _recorder.get()
    return None if recorder is None else recorder.rates.get(stage)


def in_stem() -> bool:
    """Whether layers are built in the stem of an encoder."""
    return _recorder.get() is not None and any(name == "stem" for name, _ in _scopes.get())


def address(kind: str) -> str | None:
    """Return the name of the next layer of this kind; None (Keras's own choice) outside any scope."""
    scopes = _scopes.get()
    if not scopes:
        return None
    scopes[-1][1][kind] += 1
    name = ".".join([*(name for name, _ in scopes if name), f"{kind}{scopes[-1][1][kind]}"])
    # PyTorch allows no dots in the names of parameters.
    return name.replace(".", "_") if keras.backend.backend() == "torch" else name


def ranked(layer: str, x, suffix: str = "") -> type[keras.layers.Layer]:
    """Return the Keras class of `layer` for the rank of `x`: `ranked("Conv", image)` is `Conv2D`.

    `ranked("Conv", image, "Transpose")` is `Conv2DTranspose`.

    Raises:
        ValueError: if `x` has neither one nor two spatial axes.
    """
    rank = x.ndim - 2
    if rank not in (1, 2):
        raise ValueError(
            "expected a feature map (batch, length, channels) or (batch, height, width, channels), "
            f"got shape {tuple(x.shape)}"
        )
    return getattr(keras.layers, f"{layer}{rank}D{suffix}")


def extents(x) -> tuple[int | None, ...]:
    """Return the sizes of the spatial axes that kernels extend along: all, or the first `along_first_axis`."""
    return tuple(x.shape[1:2] if _first_axis.get() else x.shape[1:-1])


def per_axis(x, size: Size) -> tuple[int, ...]:
    """Expand a size to one integer for each spatial axis of `x`, 1 for those that kernels do not extend along."""
    rank, used = x.ndim - 2, len(extents(x))
    sizes = (size,) * rank if isinstance(size, int) else tuple(size)
    return (*sizes[:used], *(1,) * (rank - used))


def check_fits(x, window: Size, dilation: Size = 1) -> None:
    """Raise `InputTooSmall` where an unpadded window is larger than a spatial axis of `x`."""
    for have, size, step in zip(x.shape[1:-1], per_axis(x, window), per_axis(x, dilation), strict=True):
        if have is not None and have < step * (size - 1) + 1:
            raise InputTooSmall(f"a window of {step * (size - 1) + 1} does not fit into a feature map {x.shape[1:-1]}")


def with_border(x, widths: Iterable[tuple[int, int]], **options):
    """Pad each spatial axis of `x` by these widths before and after it; `options` are those of `keras.ops.pad`."""
    widths = tuple(widths)
    return keras.ops.pad(x, ((0, 0), *widths, (0, 0)), **options) if any(map(any, widths)) else x


def centred(x, window: Size, dilation: Size = 1) -> list[tuple[int, int]]:
    """Return for each spatial axis of `x` the padding that keeps its size at stride 1, in the centre of a window.

    PyTorch's "same" padding: of an even window, the odd one goes at the end. At stride s, n positions become n / s,
    rounded up, for every window.
    """
    totals = [step * (size - 1) for size, step in zip(per_axis(x, window), per_axis(x, dilation), strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def pad(x, kernel: Size, stride: Size, dilation: Size = 1, value: float = 0.0):
    """Return `x` and the Keras padding that together give the framework's "same" padding, which differs for strides."""
    if _dialect.get().padding == "same" or set(per_axis(x, stride)) == {1}:
        return x, "same"
    return with_border(x, centred(x, kernel, dilation), constant_values=value), "valid"


def border_last(x, kernel: Size, stride: Size, dilation: Size = 1) -> list[tuple[int, int]]:
    """Return the padding of TensorFlow's "same": one more at the end where the total is odd.

    An axis of unknown size, which is that of time, has none.
    """
    widths = []
    axes = zip(x.shape[1:-1], per_axis(x, kernel), per_axis(x, stride), per_axis(x, dilation), strict=True)
    for have, size, step, gap in axes:
        total = 0 if have is None else max(0, (-(-have // step) - 1) * step + gap * (size - 1) + 1 - have)
        widths.append((total // 2, total - total // 2))
    return widths


def borders(x, size: Size, stride: Size, dilation: Size, padding: str | Size) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial axis of `x` that a padding by name or number stands for."""
    sizes = per_axis(x, size)
    if padding == "ceil":
        return [(0, min(width, step) - 1) for width, step in zip(sizes, per_axis(x, stride), strict=True)]
    if padding == "same":
        last = _dialect.get().padding == "same" and set(per_axis(x, stride)) != {1}
        return border_last(x, size, stride, dilation) if last else centred(x, size, dilation)
    if isinstance(padding, str):
        return [(0, 0)] * len(sizes)
    return [(zeros * (width > 1),) * 2 for zeros, width in zip(per_axis(x, padding), sizes, strict=True)]


def causal_border(x, size: Size, stride: Size, dilation: Size, widths: list[tuple[int, int]], value: float = 0.0):
    """Pad `x` for an unpadded window: before the first position along time, by `widths` along the other axis.

    A window that is smaller than its stride sees the last positions of it; the first ones are cut off.
    """
    time = _time.get()
    steps = per_axis(x, stride)
    check_fits(x, [step if axis == time else 1 for axis, step in enumerate(steps)])
    lead = per_axis(x, dilation)[time] * (per_axis(x, size)[time] - 1) + 1 - steps[time]
    widths = [(max(lead, 0), 0) if axis == time else width for axis, width in enumerate(widths)]
    kept = slice(-lead, None) if lead < 0 else slice(None)
    x = x if lead >= 0 else x[(*[slice(None)] * (time + 1), kept)]
    return with_border(x, widths, constant_values=value)


def conv(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    groups: int = 1,
    dilation: Size = 1,
    padding: str | Size = "same",
    use_bias: bool = True,
    activation: str | None = None,
):
    """Convolve `x` with `filters` kernels, He-initialised.

    `padding` is "same" (by the framework's convention), "valid", the number of zeros on both ends of all axes or of
    each, or in one dimension "causal". The initialiser is a string on purpose: a shared initialiser *instance* gives
    every kernel of the same shape the same values in Keras 3.
    """
    stride, dilation, padding = replaced(x, stride, dilation, padding)
    x, stride, padding = window(x, kernel, stride, dilation, padding)
    return ranked("Conv", x)(
        filters,
        per_axis(x, kernel),
        strides=per_axis(x, stride),
        groups=groups,
        dilation_rate=per_axis(x, dilation),
        padding=padding,
        use_bias=use_bias,
        activation=activation,
        kernel_initializer="he_normal",
        name=address("conv"),
    )(x)


def depthwise_conv(
    x,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    multiplier: int = 1,
    dilation: Size = 1,
    padding: str | Size = "same",
    use_bias: bool = True,
    max_norm: float | None = None,
):
    """Depthwise convolution with `multiplier` kernels for each channel, He-initialised by the inputs of one output.

    `max_norm` bounds the norm of each kernel in training.
    """
    stride, dilation, padding = replaced(x, stride, dilation, padding)
    x, stride, padding = window(x, kernel, stride, dilation, padding)
    if len(set(per_axis(x, stride))) > 1 and None not in x.shape[1:-1]:
        # TensorFlow 2.21 supports only equal strides along both axes, except with oneDNN (not on a GPU or in float64).
        x = x if padding == "valid" else with_border(x, border_last(x, kernel, stride, dilation))
        options = {"multiplier": multiplier, "dilation": dilation, "padding": "valid", "use_bias": use_bias}
        with causal_along(None):  # what time needs is padded already
            return subsample(depthwise_conv(x, kernel, max_norm=max_norm, **options), stride)
    return ranked("DepthwiseConv", x)(
        per_axis(x, kernel),
        strides=per_axis(x, stride),
        depth_multiplier=multiplier,
        dilation_rate=per_axis(x, dilation),
        padding=padding,
        use_bias=use_bias,
        # Keras counts the kernels of all channels as the inputs of each output. An instance of its own for each layer.
        depthwise_initializer=keras.initializers.VarianceScaling(2.0 * x.shape[-1]),
        depthwise_constraint=max_norm and keras.constraints.MaxNorm(max_norm, axis=list(range(x.ndim - 2))),
        dtype=depthwise_precision(x, kernel),
        name=address("dwconv"),
    )(x)


def standardized_conv(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    groups: int = 1,
    use_bias: bool = False,
    gain: float | None = None,
    factor: float = 1.0,
    epsilon: float = 1e-5,
):
    """Convolution with weight standardisation; with a `gain`, scaled to preserve the variance of `x`.

    The arguments are those of `kzoo.nn.standardized.StandardizedConv`.
    """
    stride, dilation, _ = replaced(x, stride, 1, "same")
    if set(per_axis(x, dilation)) != {1} and set(per_axis(x, kernel)) != {1}:
        raise ValueError("convolutions with weight standardisation cannot be dilated; leave out output_stride")
    x, stride, padding = window(x, kernel, stride, 1, "same")
    return standardized.StandardizedConv(
        filters,
        per_axis(x, kernel),
        per_axis(x, stride),
        padding=padding,
        groups=groups,
        use_bias=use_bias,
        gain=gain,
        factor=factor,
        epsilon=epsilon,
        name=address("conv"),
    )(x)


def skip_gain(x):
    """SkipInit: multiply a feature map by a learned scalar initialised to 0."""
    return standardized.SkipGain(name=address("skip"))(x)


def depthwise_precision(x, kernel: Size) -> str | None:
    """Return the dtype policy of a depthwise convolution; None is the global one.

    On CPUs with bfloat16, TensorFlow 2.21 with oneDNN hangs for kernel sizes of 15 or more (seen on 16 channels or
    fewer): those are computed in float32, unless all is in float64.
    """
    double = keras.config.dtype_policy().compute_dtype == "float64"
    return "float32" if max(per_axis(x, kernel)) > 14 and not double else None


def window(x, kernel: Size, stride: Size, dilation: Size, padding: str | Size):
    """Return the `x`, stride and padding with which Keras computes the requested convolution."""
    if set(per_axis(x, kernel)) == {1} and set(per_axis(x, stride)) != {1}:
        # An equivalent computation: oneDNN in TensorFlow 2.21 corrupts the heap in the gradient
        # of a strided pointwise convolution when a batch is not full.
        x, stride = subsample(x, stride), 1
    if _time.get() is not None:
        x = causal_border(x, kernel, stride, dilation, borders(x, kernel, stride, dilation, padding))
        padding = "valid"
    elif not isinstance(padding, str):
        x, padding = with_border(x, borders(x, kernel, stride, dilation, padding)), "valid"
    elif padding == "same":
        x, padding = pad(x, kernel, stride, dilation)
    if padding == "valid":
        check_fits(x, kernel, dilation)
    return x, stride, padding


def subsample(x, stride: Size):
    """Subsample: keep every `stride`-th position of each spatial axis, the first included, along time the last."""
    if _rates.get() is not None:
        return x
    if _time.get() is not None:
        x = causal_border(x, 1, stride, 1, [(0, 0)] * (x.ndim - 2))
    return ranked("MaxPooling", x)(1, strides=per_axis(x, stride))(x)


def upsample(x, factor: Size):
    """Nearest-neighbour upsampling: repeat each position `factor` times along each spatial axis."""
    factors = per_axis(x, factor)
    return ranked("UpSampling", x)(factors if len(factors) > 1 else factors[0])(x)


def max_unpool(x, before):
    """Return the values of `x` to where the maxima of a pooling over 2 were in `before`, of twice its size."""
    return resizing.MaxUnpool(per_axis(x, 2))([x, before])


def pixel_shuffle(x, factor: Size):
    """Sub-pixel upsampling: rearrange channels to positions, `factor` times as many along each spatial axis.

    The number of channels is divided by the size of a block; see `kzoo.nn.subpixel.PixelShuffle`.
    """
    return subpixel.PixelShuffle(per_axis(x, factor), dtype=x.dtype)(x)


def conv_transpose(x, filters: int, kernel: Size, *, stride: Size, dtype: str | None = None, name: str | None = None):
    """Transposed convolution, He-initialised: `stride` times as many positions along each spatial axis."""
    return ranked("Conv", x, "Transpose")(
        filters,
        per_axis(x, kernel),
        strides=per_axis(x, stride),
        padding="same",
        kernel_initializer="he_normal",
        dtype=dtype,
        name=name or address("conv"),
    )(x)


def prelu(x, initial: float = 0.25):
    """Parametric ReLU: a learned slope of negative values for each channel, initialised to `initial`.

    He et al., 2015, https://arxiv.org/abs/1502.01852.
    """
    shared = tuple(range(1, x.ndim - 1))
    start = keras.initializers.Constant(initial)
    return keras.layers.PReLU(start, shared_axes=shared, name=address("prelu"))(x)


@dataclass(frozen=True)
class TokenEmbedding:
    """Embedding of token ids: from (batch, length) to (batch, length, channels).

    Attributes:
        vocab_size: number of token ids.
        channels: of the embedding.
        trainable: whether it is trained.
    """

    vocab_size: int
    channels: int
    trainable: bool = True

    def __call__(self, ids):
        options = {"trainable": self.trainable, "name": address("embedding") or "embedding"}
        return keras.layers.Embedding(self.vocab_size, self.channels, **options)(ids)


def dense(x, units: int, activation: str | None = None):
    """Fully connected layer on the last axis, He-initialised."""
    return keras.layers.Dense(units, activation=activation, kernel_initializer="he_normal", name=address("dense"))(x)


def grouped_dense(x, units: int):
    """Dense layer on the last axis, with weights of its own for each entry of the axis before, He-initialised."""
    return grouped.GroupedDense(units, name=address("dense"))(x)


def batch_norm(x, *, scale: bool = True, center: bool = True, zero_gamma: bool = False):
    """Batch normalisation with the framework's epsilon and momentum.

    `scale` learns a gamma, `center` a beta; `zero_gamma` initialises a residual branch to zero.
    """
    return keras.layers.BatchNormalization(
        momentum=_dialect.get().bn_momentum,
        epsilon=_dialect.get().bn_epsilon,
        scale=scale,
        center=center,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=address("norm"),
    )(x)


def layer_norm(x, epsilon: float = 1e-6):
    """Layer normalisation over the channels of each position."""
    return keras.layers.LayerNormalization(epsilon=epsilon, name=address("norm"))(x)


def group_norm(x, groups: int = 8, epsilon: float = 1e-5):
    """Group normalisation of `groups` groups of channels."""
    return keras.layers.GroupNormalization(groups, epsilon=epsilon, name=address("norm"))(x)


NORMS = {"none": lambda x: x, "batch": batch_norm, "layer": layer_norm, "group": group_norm}


def norm(x, kind: str):
    """Apply a normalisation by name: "none", "batch", "layer" or "group"."""
    return lookup("norm", kind, NORMS)(x)


def channel_scale(x, initial: float = 1.0, *, use_bias: bool = False):
    """Multiply each channel of `x` by a learned factor initialised to `initial`; optionally add a learned offset."""
    # A pointwise depthwise convolution is as fast as a product and keeps the model free of custom layers.
    return ranked("DepthwiseConv", x)(
        1,
        use_bias=use_bias,
        depthwise_initializer=keras.initializers.Constant(initial),
        name=address("scale"),
    )(x)


def act(x, activation: str | None = "relu"):
    """Apply an activation by its Keras name; `None` is the identity.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(activation, str):
        lookup("activation", activation, vars(keras.activations) | keras.utils.get_custom_objects())
    x = x if activation is None else keras.layers.Activation(activation)(x)
    return noted(x, f"stem.{len(_recorder.get().maps)}") if in_stem() else x


def conv_norm_act(
    x,
    filters: int,
    kernel: Size = 3,
    *,
    stride: Size = 1,
    groups: int = 1,
    dilation: Size = 1,
    padding: str | Size = "same",
    use_bias: bool = False,
    activation: str | None = "relu",
    scale: bool = True,
    zero_gamma: bool = False,
):
    """Convolution, batch normalisation, activation."""
    options = {"groups": groups, "dilation": dilation, "padding": padding, "use_bias": use_bias}
    x = conv(x, filters, kernel, stride=stride, **options)
    return act(batch_norm(x, scale=scale, zero_gamma=zero_gamma), activation)


def max_pool(x, size: Size, *, stride: Size | None = None, padding: str = "same"):
    """Max pooling over windows of `size`, at a `stride` that is `size` by default.

    Padding "ceil" is PyTorch's ceil mode: an incomplete last window is pooled too.
    """
    stride, _, padding = replaced(x, stride or size, 1, padding)
    if _time.get() is not None:
        x = causal_border(x, size, stride, 1, borders(x, size, stride, 1, padding), -float("inf"))
        padding = "valid"
    elif padding == "same":
        x, padding = pad(x, size, stride, value=-float("inf"))
    elif padding == "ceil":
        x, padding = with_border(x, borders(x, size, stride, 1, "ceil"), constant_values=-float("inf")), "valid"
    if padding == "valid":
        check_fits(x, size)
    return ranked("MaxPooling", x)(per_axis(x, size), strides=per_axis(x, stride), padding=padding)(x)


def avg_pool(x, size: Size, *, stride: Size | None = None, padding: str = "same", count_padding: bool = False):
    """Average pooling over windows of `size`, at a `stride` that is `size` by default.

    Padding is not counted; with `count_padding`, half a window of zeros on both ends is.
    """
    stride, _, padding = replaced(x, stride or size, 1, padding)
    if _time.get() is not None:
        widths = centred(x, size) if count_padding else borders(x, size, stride, 1, padding)
        x, padding = causal_border(x, size, stride, 1, widths), "valid"
    elif count_padding:
        x, padding = with_border(x, centred(x, size)), "valid"
    if padding == "valid":
        check_fits(x, size)
    return ranked("AveragePooling", x)(per_axis(x, size), strides=per_axis(x, stride), padding=padding)(x)


def blur_pool(x, size: int = 3, *, stride: Size = 2):
    """Blur pooling: a strided binomial filter of odd `size`, with reflection padding.

    Zhang, 2019, Making Convolutional Networks Shift-Invariant Again, https://arxiv.org/abs/1904.11486.
    """
    check_fits(x, size // 2 + 1)
    stride, *_ = replaced(x, stride, 1, "valid")
    x = with_border(x, centred(x, size), mode="reflect")
    for _ in range(size - 2):  # averaging neighbours twice is the filter (1, 2, 1) / 4, and so on
        x = avg_pool(x, 2, stride=1, padding="valid")
    return avg_pool(x, 2, stride=stride, padding="valid")


def adaptive_avg_pool(x, size: Size):
    """Adaptive average pooling to `size` positions per axis, whatever the size of `x`."""
    sizes = per_axis(x, size)
    return x if x.shape[1:-1] == sizes else ranked("AdaptiveAveragePooling", x)(sizes)(x)


def global_avg_pool(x, *, keepdims: bool = False):
    """Global average pooling over all spatial axes."""
    return ranked("GlobalAveragePooling", x)(keepdims=keepdims)(x)


def global_max_pool(x, *, keepdims: bool = False):
    """Global max pooling over all spatial axes."""
    return ranked("GlobalMaxPooling", x)(keepdims=keepdims)(x)


def flatten(x):
    """Flatten all positions and channels of a feature map into one vector.

    Raises:
        ValueError: if a spatial axis has no fixed size, since a dense layer needs one.
    """
    if None in x.shape[1:]:
        raise ValueError(f"this network ends in dense layers and needs a fixed input size, got {tuple(x.shape[1:])}")
    return keras.layers.Flatten()(x)


def spatial_dropout(x, rate: float):
    """Dropout of whole channels with this rate, in [0, 1)."""
    return ranked("SpatialDropout", x)(rate)(x) if rate else x


def dropout(x, rate: float):
    """Dropout with this rate, in [0, 1)."""
    return keras.layers.Dropout(rate)(x) if rate else x


def drop_path(x, rate: float):
    """Stochastic depth: drop the whole feature map of an example with probability `rate` in training."""
    return keras.layers.Dropout(rate, noise_shape=(None, *(1,) * (x.ndim - 1)))(x) if rate else x


def named_output(x, name: str):
    """Name a feature map so that `model.get_layer(name).output`, `features=(name,)` and decoders find it."""
    recorder = _recorder.get()
    return noted(keras.layers.Identity(name=name if recorder is None else f"{recorder.prefix}{name}")(x), name)


def pad_to_multiple(x, multiples: Size):
    """Zero-pad each spatial axis of `x` at its end to a multiple of these sizes."""
    multiples = per_axis(x, multiples)
    if None in x.shape[1:-1]:
        return resizing.PadToMultiple(multiples)(x)
    return with_border(x, [(0, -have % size) for have, size in zip(x.shape[1:-1], multiples, strict=True)])


def cropped(x, like):
    """Crop `x` at the ends of its axes to the size of `like`."""
    if x.shape[1:-1] == like.shape[1:-1] and None not in x.shape[1:-1]:
        return x
    if None in x.shape[1:-1] + like.shape[1:-1]:
        return resizing.CropLike(dtype=x.dtype)([x, like])
    ends = [(0, have - want) for have, want in zip(x.shape[1:-1], like.shape[1:-1], strict=True)]
    return ranked("Cropping", x)(ends if len(ends) > 1 else ends[0], dtype=x.dtype)(x)


def interpolate(x, like, *, align_corners: bool = False):
    """Bilinear interpolation (linear of series) to the size of `like`.

    `align_corners` maps the first and last positions onto each other, not the ends of the axis, as in PyTorch.
    """
    if x.shape[1:-1] == like.shape[1:-1] and None not in x.shape[1:-1]:
        return x
    return resizing.Interpolate(align_corners=align_corners, dtype=x.dtype)([x, like])


def interpolate_by(x, factor: Size, *, align_corners: bool = False):
    """Bilinear interpolation to `factor` times the size."""
    factors = per_axis(x, factor)
    return x if set(factors) == {1} else resizing.Interpolate(factors, align_corners, dtype=x.dtype)(x)
