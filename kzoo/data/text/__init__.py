"""Text data: file reading, tokenisation, augmentation and datasets."""

from kzoo.data.splits import MODALITIES, Modality
from kzoo.data.text import files, sets  # noqa: F401  (register their datasets)
from kzoo.data.text.augment import TextAugment
from kzoo.data.text.preprocess import ALPHABET, TextPreprocess

__all__ = ["ALPHABET", "TextAugment", "TextPreprocess"]

MODALITIES["text"] = Modality(TextPreprocess, TextAugment)
