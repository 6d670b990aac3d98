"""Files in the names and shapes of the published checkpoints of audio taggers: PANNs and EfficientAT."""

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import kzoo

RNG = np.random.default_rng(0)


def norm(name: str, width: int) -> dict[str, tuple]:
    """Return the names and shapes of a batch normalisation of PyTorch."""
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def panns(kernel: int, convolutions: int, widths: list[int], units: int) -> dict[str, tuple]:
    """Return the names and shapes of Cnn6, Cnn10 and Cnn14 of qiuqiangkong/audioset_tagging_cnn."""
    shapes = norm("bn0", 64)
    for block, (inputs, width) in enumerate(zip([1, *widths], widths, strict=False), start=1):
        for number in range(1, convolutions + 1):
            shapes[f"conv_block{block}.conv{number}.weight"] = (width, inputs, kernel, kernel)
            shapes |= norm(f"conv_block{block}.bn{number}", width)
            inputs = width
    shapes |= linear("fc1", widths[-1], units) | linear("fc_audioset", units, 527)
    stft = dict.fromkeys(("conv_real.weight", "conv_imag.weight"), (513, 1, 1024))
    shapes |= {f"spectrogram_extractor.stft.{name}": shape for name, shape in stft.items()}
    return shapes | {"logmel_extractor.melW": (513, 64)}


# Kernel, channels inside, channels after, squeeze-and-excitation: the blocks of MobileNetV3-Large.
LARGE = [
    *[(3, 16, 16, False), (3, 64, 24, False), (3, 72, 24, False), (5, 72, 40, True), (5, 120, 40, True)],
    *[(5, 120, 40, True), (3, 240, 80, False), (3, 200, 80, False), (3, 184, 80, False), (3, 184, 80, False)],
    *[(3, 480, 112, True), (3, 672, 112, True), (5, 672, 160, True), (5, 960, 160, True), (5, 960, 160, True)],
]


def divisible(channels: float) -> int:
    """Return the multiple of 8 nearest to a number of channels, at least nine tenths of it."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def efficient_at(width: float) -> dict[str, tuple]:
    """Return the names and shapes of fschmid56/EfficientAT's MobileNets of a width."""

    def conv(name: str, inputs: int, outputs: int, kernel: int) -> dict[str, tuple]:
        return {f"{name}.0.weight": (outputs, inputs, kernel, kernel)} | norm(f"{name}.1", outputs)

    before = divisible(16 * width)
    shapes = conv("features.0", 1, before, 3)
    for number, (kernel, inside, after, gate) in enumerate(LARGE, start=1):
        inside, after, name, place = divisible(inside * width), divisible(after * width), f"features.{number}.block", 0
        if inside != before:
            shapes |= conv(f"{name}.0", before, inside, 1)
            place = 1
        shapes |= conv(f"{name}.{place}", 1, inside, kernel)
        if gate:
            place, squeezed = place + 1, divisible(inside // 4)
            shapes |= linear(f"{name}.{place}.conc_se_layers.0.fc1", inside, squeezed)
            shapes |= linear(f"{name}.{place}.conc_se_layers.0.fc2", squeezed, inside)
        shapes |= conv(f"{name}.{place + 1}", inside, after, 1)
        before = after
    shapes |= conv("features.16", before, 6 * before, 1)
    units = divisible(1280 * width)
    return shapes | linear("classifier.2", 6 * before, units) | linear("classifier.5", units, 527)


PUBLISHED = {
    "cnn6": lambda: panns(5, 1, [64, 128, 256, 512], 512),
    "cnn10": lambda: panns(3, 2, [64, 128, 256, 512], 512),
    "cnn14": lambda: panns(3, 2, [64, 128, 256, 512, 1024, 2048], 2048),
    "mn04": lambda: efficient_at(0.4),
    "mn10": lambda: efficient_at(1.0),
}
LARGE_FILES = ("cnn10", "cnn14", "mn10")


def values(shape: tuple) -> np.ndarray:
    return np.abs(RNG.normal(size=shape)).astype("float32") if shape else np.array(7, "int64")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE_FILES else ()) for name in PUBLISHED]
)
def test_published_checkpoints_load_by_their_names(name, tmp_path):
    tensors = {key: values(shape) for key, shape in PUBLISHED[name]().items()}
    save_file(tensors, tmp_path / "published.safetensors")
    model = kzoo.create_model(name, *kzoo.model_card(name).reference[:2])
    report = kzoo.load_weights(model, tmp_path / "published.safetensors")
    assert (report.missing, report.unexpected, report.mis_shaped) == ((), (), ())
    loaded = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    first, last = ("conv_block1.conv1", "fc_audioset") if name.startswith("cnn") else ("features.0.0", "classifier.5")
    kernel = next(value for path, value in loaded.items() if path.endswith("conv1/kernel"))
    np.testing.assert_array_equal(kernel, tensors[f"{first}.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(loaded["logits/kernel"], tensors[f"{last}.weight"].T)
