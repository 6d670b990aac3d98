"""Image data: file reading, preprocessing, augmentation and datasets."""

from kzoo.data.image import files, sets  # noqa: F401  (register their datasets)
from kzoo.data.image.augment import ImageAugment
from kzoo.data.image.preprocess import ImagePreprocess
from kzoo.data.image.sizes import resized
from kzoo.data.splits import MODALITIES, Modality

__all__ = ["ImageAugment", "ImagePreprocess", "resized"]

MODALITIES["image"] = Modality(ImagePreprocess, ImageAugment)
