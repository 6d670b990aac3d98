"""Weights that keras.applications offers: which of our networks they fit, where they are, and what belongs to them.

keras.applications reads a file by the order of the layers in it, whatever they are called there. So each file is read
by the network that it was made for, whose weights are then ours: those of one kind and shape in their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.core.registry import did_you_mean
from kzoo.data.image import ImagePreprocess

ROLES = ("bias", "gamma", "beta", "moving_mean", "moving_variance")
ORIGIN = "https://storage.googleapis.com/"


class Pixels(NamedTuple):
    """What a network expects of red, green and blue, which are 0 to 255: less the mean, divided by the deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    blue_first: bool = False  # in the file; our network takes red first, its first kernel being turned round


CAFFE = Pixels((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), blue_first=True)
TORCH = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
TF = Pixels((127.5,) * 3, (127.5,) * 3)
TF_128 = Pixels((128.0,) * 3, (128.0,) * 3)


class Application(NamedTuple):
    """A network of keras.applications that is one of ours, and its weights from ImageNet.

    Attributes:
        builder: its name there.
        file: where its weights are.
        checksum: of the file, as Keras has it; None where Keras has none.
        pixels: what it expects of them.
        size: height and width of its input.
        hyperparameters: what makes our network that one, the dialect among them.
        arguments: what its builder is given.
        apart: what the names of layers in shortcuts have in them, theirs and ours, where these are matched among
            themselves.
    """

    builder: str
    file: str
    checksum: str | None
    pixels: Pixels
    size: int = 224
    hyperparameters: Mapping = {}
    arguments: Mapping = {}
    apart: tuple[str, ...] = ()

    @property
    def preprocess(self) -> ImagePreprocess:
        """From photographs to the network's input: the middle 7/8, as is usual with ImageNet."""
        return ImagePreprocess((self.size,) * 2, 3, self.pixels.mean, self.pixels.std, crop=0.875)


def usual(builder: str, path: str, checksum: str | None, pixels: Pixels, size: int = 224, **hyperparameters):
    """Return a network whose file is called as most are."""
    file = f"tensorflow/keras-applications/{path}_weights_tf_dim_ordering_tf_kernels.h5"
    return Application(builder, file, checksum, pixels, size, hyperparameters)


def resnet(name: str, checksum: str, pixels: Pixels, **hyperparameters) -> Application:
    path = f"resnet/resnet{name.lower()}"
    return usual(f"ResNet{name}", path, checksum, pixels, **hyperparameters)._replace(apart=("_0_", "shortcut"))


def mobilenet_v2(alpha: float) -> Application:
    application = usual("MobileNetV2", "mobilenet_v2/mobilenet_v2", None, TF, **TENSORFLOW)
    return application._replace(file=application.file.replace(".h5", f"_{alpha}_224.h5"), arguments={"alpha": alpha})


def mobilenet_v3(builder: str, name: str, checksum: str, **arguments) -> Application:
    file = f"tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_{name}_float.h5"
    return Application(f"MobileNetV3{builder}", file, checksum, TF, arguments=arguments)


def efficientnet(name: str, size: int, checksum: str) -> Application:
    file = f"keras-applications/efficientnet{name.lower()}.h5"
    return Application(f"EfficientNet{name}", file, checksum, TORCH, size)


def efficientnet_v2(name: str, size: int, checksum: str, pixels: Pixels) -> Application:
    file = f"tensorflow/keras-applications/efficientnet_v2/efficientnetv2-{name.lower()}.h5"
    return Application(f"EfficientNetV2{name}", file, checksum, pixels, size)


def convnext(name: str, checksum: str) -> Application:
    file = f"tensorflow/keras-applications/convnext/convnext_{name.lower()}.h5"
    return Application(f"ConvNeXt{name}", file, checksum, TORCH)


TENSORFLOW = {"dialect": "tensorflow"}
UNSCALED = {"dialect": "tensorflow", "scale": False}

V1 = {"pixels": CAFFE, "stride_in_first": True}
V2 = {"pixels": TF, "stride_in_last": True, "stem": "conv7_zeros", "use_bias": True}

APPLICATIONS = {
    "vgg16": usual("VGG16", "vgg16/vgg16", "64373286793e3c8b2b4e3219cbf3544b", CAFFE),
    "vgg19": usual("VGG19", "vgg19/vgg19", "cbe5617147190e668d6c5d5026f83318", CAFFE),
    "resnet50": resnet("50", "2cb95161c43110f7111970584f804107", **V1),
    "resnet101": resnet("101", "f1aeb4b969a6efcfb50fad2f0c20cfc5", **V1),
    "resnet152": resnet("152", "100835be76be38e30d865e96f2aaae62", **V1),
    "resnetv2_50": resnet("50V2", "3ef43a0b657b3be2300d5770ece849e0", **V2),
    "resnetv2_101": resnet("101V2", "6343647c601c52e1368623803854d971", **V2),
    "resnetv2_152": resnet("152V2", "a49b44d1979771252814e80f8ec446f9", **V2),
    "densenet121": usual("DenseNet121", "densenet/densenet121", "9d60b8095a5708f2dcce2bca79d332c7", TORCH),
    "densenet169": usual("DenseNet169", "densenet/densenet169", "d699b8f76981ab1b30698df4c175e90b", TORCH),
    "densenet201": usual("DenseNet201", "densenet/densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807", TORCH),
    "legacy_xception": usual(
        "Xception", "xception/xception", "0a58e3b7378bc2990ea3b43d5981f1f6", TF, 299, **TENSORFLOW
    ),
    "inception_v3": usual(
        "InceptionV3",
        "inception_v3/inception_v3",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        TF,
        299,
        count_padding=False,
        **UNSCALED,
    ),
    "inception_resnet_v2": usual(
        "InceptionResNetV2",
        "inception_resnet_v2/inception_resnet_v2",
        "e693bd0210a403b3192acc6073ad2e96",
        TF,
        299,
        **UNSCALED,
    ),
    # Its numbers are others at sizes at which it halves odd feature maps, as 161 x 161: it pads those at one end alone.
    "mobilenetv1_100": Application(
        "MobileNet", "tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf.h5", None, TF, 224, TENSORFLOW
    ),
    "mobilenetv2_035": mobilenet_v2(0.35),
    "mobilenetv2_050": mobilenet_v2(0.5),
    "mobilenetv2_075": mobilenet_v2(0.75),
    "mobilenetv2_100": mobilenet_v2(1.0),
    "mobilenetv2_140": mobilenet_v2(1.4),
    "tf_mobilenetv3_large_075": mobilenet_v3("Large", "large_224_0.75", "765b44a33ad4005b3ac83185abf1d0eb", alpha=0.75),
    "tf_mobilenetv3_large_100": mobilenet_v3("Large", "large_224_1.0", "59e551e166be033d707958cf9e29a6a7"),
    "tf_mobilenetv3_large_minimal_100": mobilenet_v3(
        "Large", "large_minimalistic_224_1.0", "675e7b876c45c57e9e63e6d90a36599c", minimalistic=True
    ),
    "tf_mobilenetv3_small_075": mobilenet_v3("Small", "small_224_0.75", "cb65d4e5be93758266aa0a7f2c6708b7", alpha=0.75),
    "tf_mobilenetv3_small_100": mobilenet_v3("Small", "small_224_1.0", "8768d4c2e7dee89b9d02b2d03d65d862"),
    "tf_mobilenetv3_small_minimal_100": mobilenet_v3(
        "Small", "small_minimalistic_224_1.0", "99cd97fb2fcdad2bf028eb838de69e37", minimalistic=True
    ),
    "tf_efficientnet_b0": efficientnet("B0", 224, "902e53a9f72be733fc0bcb005b3ebbac"),
    "tf_efficientnet_b1": efficientnet("B1", 240, "1d254153d4ab51201f1646940f018540"),
    "tf_efficientnet_b2": efficientnet("B2", 260, "b15cce36ff4dcbd00b6dd88e7857a6ad"),
    "tf_efficientnet_b3": efficientnet("B3", 300, "ffd1fdc53d0ce67064dc6a9c7960ede0"),
    "tf_efficientnet_b4": efficientnet("B4", 380, "18c95ad55216b8f92d7e70b3a046e2fc"),
    "tf_efficientnet_b5": efficientnet("B5", 456, "ace28f2a6363774853a83a0b21b9421a"),
    "tf_efficientnet_b6": efficientnet("B6", 528, "165f6e37dce68623721b423839de8be5"),
    "tf_efficientnet_b7": efficientnet("B7", 600, "8c03f828fec3ef71311cd463b6759d99"),
    "tf_efficientnetv2_b0": efficientnet_v2("B0", 224, "21ecbf6da12460d5c40bb2f29ceb2188", TORCH),
    "tf_efficientnetv2_b1": efficientnet_v2("B1", 240, "069f0534ff22adf035c89e2d9547a9dc", TORCH),
    "tf_efficientnetv2_b2": efficientnet_v2("B2", 260, "424e49f28180edbde1e94797771950a7", TORCH),
    "tf_efficientnetv2_b3": efficientnet_v2("B3", 300, "1f1fc43bd98a6e4fd8fdfd551e02c7a0", TORCH),
    "tf_efficientnetv2_s": efficientnet_v2("S", 384, "e1d88a8495beba45748fedd0cecbe016", TF_128),
    "tf_efficientnetv2_m": efficientnet_v2("M", 480, "a3bf6aa3276309f4fc6a34aa114c95cd", TF_128),
    "tf_efficientnetv2_l": efficientnet_v2("L", 480, "27e6d408b53c7ebc868fefa357689935", TF_128),
    "convnext_tiny": convnext("Tiny", "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff"),
    "convnext_small": convnext("Small", "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c"),
    "convnext_base": convnext("Base", "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6"),
    "convnext_large": convnext("Large", "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6"),
}


def find(name: str) -> tuple[str, Application]:
    """Return our name and the network of keras.applications for either's name, in any case.

    Raises:
        ValueError: for a network that keras.applications does not have, or has otherwise.
    """
    builders = {
        application.builder.lower(): ours
        for ours, application in APPLICATIONS.items()
        if application.arguments in ({}, {"alpha": 1.0})
    }
    ours = builders.get(name.lower(), name.lower())
    if ours not in APPLICATIONS:
        raise ValueError(
            f"keras.applications has no weights for {name!r}, or a network unlike ours; "
            f"{did_you_mean(name.lower(), APPLICATIONS)}"
        )
    return ours, APPLICATIONS[ours]


def download(application: Application) -> Path:
    """Return the file of the weights, from Keras's cache where it is there.

    Raises:
        ValueError: if it is not there and cannot be downloaded, or is not that of the checksum.
    """
    origin = ORIGIN + application.file
    name = origin.rpartition("/")[2]
    try:
        return Path(keras.utils.get_file(name, origin, cache_subdir="models", file_hash=application.checksum))
    except Exception as error:  # Keras raises a plain one for whatever goes wrong
        raise ValueError(
            f"{name} cannot be had ({error}); where there is no network, copy {origin} into the folder models of "
            "KERAS_HOME, which is ~/.keras if nothing else is set"
        ) from error


def tensors(model: keras.Model, application: Application, file: Path) -> dict[str, np.ndarray]:
    """Return the weights in a file of keras.applications by their addresses in a model of ours.

    Those that the model has nothing for keep their own names. The bias of a convolution that is normalised is in the
    mean of the normalisation.

    Raises:
        ValueError: for a file of another network.
    """
    theirs = read(application, file)
    needless = {"mean", "variance", "count", *fold_biases(theirs)}
    first, *inner, kernel, bias = (w for w in theirs.weights if needless.isdisjoint((w.name, w.path)))
    stem, *others = (w for w in model.weights if not w.path.startswith("logits/"))
    found = {address(stem): array(first)[..., :: -1 if application.pixels.blue_first else 1, :]}
    found |= {"logits/kernel": array(kernel).reshape(kernel.shape[-2:]), "logits/bias": array(bias)}
    shift = epsilon(theirs) - epsilon(model)  # by which the roots that divide are the same
    waiting = defaultdict(list)
    for weight in inner:
        waiting[kind(weight, application.apart)].append(weight)
    for weight in others:
        if alike := waiting[kind(weight, application.apart)]:
            value = array(alike.pop(0)).reshape(weight.shape)
            found[address(weight)] = value + shift if weight.name == "moving_variance" else value
    return found | {weight.path: array(weight) for left in waiting.values() for weight in left}


def read(application: Application, file: Path) -> keras.Model:
    """Return the network of keras.applications with the weights in a file."""
    builder, shape = getattr(keras.applications, application.builder), application.preprocess.input_shape
    try:
        return builder(input_shape=shape, weights=str(file), classifier_activation=None, **application.arguments)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{file} does not hold the weights of {application.builder}: {error}") from error


def fold_biases(model: keras.Model) -> set[str]:
    """Subtract each bias from the mean that a batch normalisation subtracts right after; return the biases' paths."""
    biases = {id(part.output): part.bias for part in model.layers if getattr(part, "bias", None) is not None}
    norms = [part for part in model.layers if isinstance(part, keras.layers.BatchNormalization)]
    pairs = [(norm.moving_mean, biases[id(norm.input)]) for norm in norms if id(norm.input) in biases]
    for mean, bias in pairs:
        mean.assign(mean - bias)
    return {bias.path for _, bias in pairs}


def kind(weight: keras.Variable, apart: tuple[str, ...] = ()) -> tuple:
    """Return what a weight is, whatever it is called: its role and extents, without axes of 1; and if it is `apart`."""
    role = weight.name if weight.name in ROLES else "kernel"
    *window, inputs, outputs = (1, 1, *weight.shape)
    extents = window if max(window) > 1 else []
    separate = any(part in weight.path for part in apart)
    return (separate, role, *extents, *(channels for channels in (inputs, outputs) if channels > 1))


def address(weight: keras.Variable) -> str:
    """Return the address of one of our weights; its dots are underscores on Keras's PyTorch backend."""
    layer, _, name = weight.path.rpartition("/")
    return f"{layer.replace('_', '.') if keras.backend.backend() == 'torch' else layer}/{name}"


def array(weight: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(weight)


def epsilon(model: keras.Model) -> float:
    """Return what the batch normalisations of a model, all alike, add to the variance; 0 if there are none."""
    return next((part.epsilon for part in model.layers if isinstance(part, keras.layers.BatchNormalization)), 0.0)
