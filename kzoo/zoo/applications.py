"""Pretrained weights of keras.applications: which network of the zoo each fits, and how its weights are mapped.

keras.applications reads a file by the order of the layers in it, whatever their names. So each file is read by the
network that it was made for, and its weights are assigned to those of the same kind and shape in our network, in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.core.registry import did_you_mean
from kzoo.data.image import ImagePreprocess

ROLES = ("bias", "gamma", "beta", "moving_mean", "moving_variance")


class Pixels(NamedTuple):
    """Normalisation of red, green and blue in [0, 255]: subtract the mean, divide by the standard deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    blue_first: bool = False  # in the file; our network takes red first, with the first kernel's channels reversed


CAFFE = Pixels((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), blue_first=True)
TORCH = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
TF = Pixels((127.5,) * 3, (127.5,) * 3)
TF_128 = Pixels((128.0,) * 3, (128.0,) * 3)


class Application(NamedTuple):
    """A network of keras.applications that is in the zoo, and has weights trained on ImageNet.

    Attributes:
        builder: its name in keras.applications.
        pixels: normalisation of the input.
        size: height and width of the input.
        hyperparameters: of our network, framework convention included, with which it is that network.
        arguments: of the builder.
        apart: parts of the names of layers in shortcuts, theirs and ours, where these are matched separately.
    """

    builder: str
    pixels: Pixels
    size: int = 224
    hyperparameters: Mapping = {}
    arguments: Mapping = {}
    apart: tuple[str, ...] = ()

    @property
    def preprocess(self) -> ImagePreprocess:
        """Preprocessing of images: the central 7/8, as is usual with ImageNet."""
        return ImagePreprocess((self.size,) * 2, 3, self.pixels.mean, self.pixels.std, crop=0.875)


def resnet(name: str, pixels: Pixels, **hyperparameters) -> Application:
    return Application(f"ResNet{name}", pixels, hyperparameters=hyperparameters, apart=("_0_", "shortcut"))


def mobilenet_v2(alpha: float) -> Application:
    return Application("MobileNetV2", TF, hyperparameters=TENSORFLOW, arguments={"alpha": alpha})


def mobilenet_v3(size: str, **arguments) -> Application:
    return Application(f"MobileNetV3{size}", TF, arguments=arguments)


TENSORFLOW = {"dialect": "tensorflow"}
UNSCALED = {"dialect": "tensorflow", "scale": False}

V1 = {"pixels": CAFFE, "stride_in_first": True}
V2 = {"pixels": TF, "stride_in_last": True, "stem": "conv7_zeros", "use_bias": True}

APPLICATIONS = {
    "vgg16": Application("VGG16", CAFFE),
    "vgg19": Application("VGG19", CAFFE),
    "resnet50": resnet("50", **V1),
    "resnet101": resnet("101", **V1),
    "resnet152": resnet("152", **V1),
    "resnetv2_50": resnet("50V2", **V2),
    "resnetv2_101": resnet("101V2", **V2),
    "resnetv2_152": resnet("152V2", **V2),
    "densenet121": Application("DenseNet121", TORCH),
    "densenet169": Application("DenseNet169", TORCH),
    "densenet201": Application("DenseNet201", TORCH),
    "legacy_xception": Application("Xception", TF, 299, TENSORFLOW),
    "inception_v3": Application("InceptionV3", TF, 299, {"count_padding": False, **UNSCALED}),
    "inception_resnet_v2": Application("InceptionResNetV2", TF, 299, UNSCALED),
    # Outputs differ at sizes at which it halves odd feature maps, such as 161 x 161: it pads those at one end alone.
    "mobilenetv1_100": Application("MobileNet", TF, 224, TENSORFLOW),
    "mobilenetv2_035": mobilenet_v2(0.35),
    "mobilenetv2_050": mobilenet_v2(0.5),
    "mobilenetv2_075": mobilenet_v2(0.75),
    "mobilenetv2_100": mobilenet_v2(1.0),
    "mobilenetv2_140": mobilenet_v2(1.4),
    "tf_mobilenetv3_large_075": mobilenet_v3("Large", alpha=0.75),
    "tf_mobilenetv3_large_100": mobilenet_v3("Large"),
    "tf_mobilenetv3_large_minimal_100": mobilenet_v3("Large", minimalistic=True),
    "tf_mobilenetv3_small_075": mobilenet_v3("Small", alpha=0.75),
    "tf_mobilenetv3_small_100": mobilenet_v3("Small"),
    "tf_mobilenetv3_small_minimal_100": mobilenet_v3("Small", minimalistic=True),
    "tf_efficientnet_b0": Application("EfficientNetB0", TORCH, 224),
    "tf_efficientnet_b1": Application("EfficientNetB1", TORCH, 240),
    "tf_efficientnet_b2": Application("EfficientNetB2", TORCH, 260),
    "tf_efficientnet_b3": Application("EfficientNetB3", TORCH, 300),
    "tf_efficientnet_b4": Application("EfficientNetB4", TORCH, 380),
    "tf_efficientnet_b5": Application("EfficientNetB5", TORCH, 456),
    "tf_efficientnet_b6": Application("EfficientNetB6", TORCH, 528),
    "tf_efficientnet_b7": Application("EfficientNetB7", TORCH, 600),
    "tf_efficientnetv2_b0": Application("EfficientNetV2B0", TORCH, 224),
    "tf_efficientnetv2_b1": Application("EfficientNetV2B1", TORCH, 240),
    "tf_efficientnetv2_b2": Application("EfficientNetV2B2", TORCH, 260),
    "tf_efficientnetv2_b3": Application("EfficientNetV2B3", TORCH, 300),
    "tf_efficientnetv2_s": Application("EfficientNetV2S", TF_128, 384),
    "tf_efficientnetv2_m": Application("EfficientNetV2M", TF_128, 480),
    "tf_efficientnetv2_l": Application("EfficientNetV2L", TF_128, 480),
    "convnext_tiny": Application("ConvNeXtTiny", TORCH),
    "convnext_small": Application("ConvNeXtSmall", TORCH),
    "convnext_base": Application("ConvNeXtBase", TORCH),
    "convnext_large": Application("ConvNeXtLarge", TORCH),
}


def find(name: str) -> tuple[str, Application]:
    """Return our name and the network of keras.applications for either's name, in upper or lower case.

    Raises:
        ValueError: for a network that keras.applications does not have, or defines differently.
    """
    builders = {
        application.builder.lower(): ours
        for ours, application in APPLICATIONS.items()
        if application.arguments in ({}, {"alpha": 1.0})
    }
    ours = builders.get(name.lower(), name.lower())
    if ours not in APPLICATIONS:
        raise ValueError(
            f"keras.applications has no weights for {name!r}, or its network differs from ours; "
            f"{did_you_mean(name.lower(), APPLICATIONS)}"
        )
    return ours, APPLICATIONS[ours]


def tensors(model: keras.Model, application: Application) -> dict[str, np.ndarray]:
    """Return the weights of keras.applications by their addresses in a model of ours.

    Weights that the model has no counterpart for keep their own names. The bias of a convolution before batch
    normalisation is subtracted from the moving mean.

    Raises:
        ValueError: if the weights cannot be downloaded, or the file is damaged.
    """
    theirs = pretrained(application)
    needless = {"mean", "variance", "count", *fold_biases(theirs)}
    first, *inner, kernel, bias = (w for w in theirs.weights if needless.isdisjoint((w.name, w.path)))
    stem, *others = (w for w in model.weights if not w.path.startswith("logits/"))
    found = {address(stem): array(first)[..., :: -1 if application.pixels.blue_first else 1, :]}
    found |= {"logits/kernel": array(kernel).reshape(kernel.shape[-2:]), "logits/bias": array(bias)}
    shift = epsilon(theirs) - epsilon(model)  # added to the variance, it gives the same denominator
    waiting = defaultdict(list)
    for weight in inner:
        waiting[kind(weight, application.apart)].append(weight)
    for weight in others:
        if alike := waiting[kind(weight, application.apart)]:
            value = array(alike.pop(0)).reshape(weight.shape)
            found[address(weight)] = value + shift if weight.name == "moving_variance" else value
    return found | {weight.path: array(weight) for left in waiting.values() for weight in left}


def pretrained(application: Application) -> keras.Model:
    """Return the network of keras.applications with its weights, which Keras downloads, caches and verifies."""
    builder, shape = getattr(keras.applications, application.builder), application.preprocess.input_shape
    try:
        return builder(input_shape=shape, weights="imagenet", classifier_activation=None, **application.arguments)
    except Exception as error:  # Keras raises a plain one for whatever goes wrong in a download
        raise ValueError(
            f"the weights of keras.applications.{application.builder} cannot be loaded ({error}); where there is no "
            "network, copy the file into the directory `models` of KERAS_HOME, which is ~/.keras by default"
        ) from error


def fold_biases(model: keras.Model) -> set[str]:
    """Subtract each bias from the moving mean of the batch normalisation right after it; return the biases' paths."""
    biases = {id(part.output): part.bias for part in model.layers if getattr(part, "bias", None) is not None}
    norms = [part for part in model.layers if isinstance(part, keras.layers.BatchNormalization)]
    pairs = [(norm.moving_mean, biases[id(norm.input)]) for norm in norms if id(norm.input) in biases]
    for mean, bias in pairs:
        mean.assign(mean - bias)
    return {bias.path for _, bias in pairs}


def kind(weight: keras.Variable, apart: tuple[str, ...] = ()) -> tuple:
    """Return what identifies a weight besides its name: role, shape without axes of 1, whether it is `apart`."""
    role = weight.name if weight.name in ROLES else "kernel"
    *window, inputs, outputs = (1, 1, *weight.shape)
    extents = window if max(window) > 1 else []
    separate = any(part in weight.path for part in apart)
    return (separate, role, *extents, *(channels for channels in (inputs, outputs) if channels > 1))


def address(weight: keras.Variable) -> str:
    """Return the address of one of our weights; Keras's PyTorch backend turns its dots into underscores."""
    layer, _, name = weight.path.rpartition("/")
    return f"{layer.replace('_', '.') if keras.backend.backend() == 'torch' else layer}/{name}"


def array(weight: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(weight)


def epsilon(model: keras.Model) -> float:
    """Return the epsilon that all batch normalisations of a model share; 0 if there are none."""
    return next((part.epsilon for part in model.layers if isinstance(part, keras.layers.BatchNormalization)), 0.0)
