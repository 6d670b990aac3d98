"""Wav2Letter: plain 1-D convolutions from a waveform or its features to letters."""

from collections.abc import Callable
from dataclasses import dataclass

from kzoo.core.registry import PYTORCH, Paper, Reference, register_model
from kzoo.nn.blocks import stage_sequence
from kzoo.nn.layers import conv
from kzoo.nn.naming import Rule, logits_to

COLLOBERT_2016 = Paper(
    "Collobert, Ronan and Puhrsch, Christian and Synnaeve, Gabriel",
    2016,
    "Wav2Letter: an End-to-End ConvNet-based Speech Recognition System",
    "https://arxiv.org/abs/1609.03193",
)


def every_second(template: str, first: int) -> Callable:
    """Return a replacement for stage n of a sequence in which a ReLU follows each convolution."""
    return lambda match, layers: template.format(2 * (int(match[1]) - first))


# In torchaudio, that of a waveform is a layer of its own, then the network of features.
OF_WAVEFORM = r"^acoustic_model\.1\.20\."
KEY_MAPPING = (
    Rule(r"^stage1\.conv1$", "acoustic_model.0.0", where=OF_WAVEFORM),
    Rule(r"^stage(\d+)\.conv1$", every_second("acoustic_model.1.{}", 2), where=OF_WAVEFORM),
    Rule(r"^logits$", "acoustic_model.1.20", where=OF_WAVEFORM),
    Rule(r"^stage(\d+)\.conv1$", every_second("acoustic_model.{}", 1)),
    logits_to("acoustic_model.20"),
)

# 13 MFCCs of ten seconds every 10 milliseconds, or the waveform of one; 28 symbols and CTC's blank
FEATURES = Reference((1000, 13), 29, PYTORCH)
WAVEFORM = Reference((16_000, 1), 29, PYTORCH)


# Counted in torchaudio, whose last layer has a ReLU too.
@register_model("wav2letter", COLLOBERT_2016, 23_282_529, FEATURES, task="transcription", dims=(1,))
@register_model(
    "wav2letter_waveform",
    COLLOBERT_2016,
    26_189_279,
    WAVEFORM,
    task="transcription",
    dims=(1,),
    filters=(*[250] * 9, 2000, 2000),
    kernels=(250, 48, *[7] * 7, 32, 1),
    strides=(160, 2, *[1] * 9),
    borders=(45, 23, *[3] * 7, 16, 0),
)
@dataclass(frozen=True)
class Wav2Letter:
    """Convolutions with ReLU in turn, the last two wide.

    Maps a signal `(batch, time, features)` to one of half the length, or a waveform to one of a 320th. The output of
    layer n is named `stage<n>`.

    Args:
        filters: kernels of each layer; there are as many layers as entries.
        kernels: kernel size of each layer.
        strides: stride of each layer.
        borders: zeros on both ends of the input of each layer.

    Raises:
        ValueError: if the fields differ in length.
    """

    filters: tuple[int, ...] = (250, 250, 250, 250, 250, 250, 250, 250, 2000, 2000)
    kernels: tuple[int, ...] = (48, 7, 7, 7, 7, 7, 7, 7, 32, 1)
    strides: tuple[int, ...] = (2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    borders: tuple[int, ...] = (23, 3, 3, 3, 3, 3, 3, 3, 16, 0)

    def __call__(self, x):
        fields = {"filters": self.filters, "kernels": self.kernels, "strides": self.strides, "borders": self.borders}
        return stage_sequence(x, self.layer, **fields)

    def layer(self, x, filters: int, kernel: int, stride: int, border: int):
        return conv(x, filters, kernel, stride=stride, padding=border, activation="relu")
