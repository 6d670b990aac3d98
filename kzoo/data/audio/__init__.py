"""Audio data: file reading, features, preprocessing, augmentation and datasets."""

from kzoo.data.audio import folder, sets, utterances  # noqa: F401  (register their datasets)
from kzoo.data.audio.augment import AudioAugment
from kzoo.data.audio.files import Recordings
from kzoo.data.audio.frontends import FrontEnd
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.splits import MODALITIES, Modality

__all__ = ["AudioAugment", "AudioPreprocess", "FrontEnd", "Recordings"]

MODALITIES["audio"] = Modality(AudioPreprocess, AudioAugment)
