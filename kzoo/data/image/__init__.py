"""Image data: file reading, preprocessing, augmentation and datasets."""

from kzoo.data.image import files, masks, restore, sets  # noqa: F401  (register their datasets)
from kzoo.data.image.augment import ImageAugment
from kzoo.data.image.geometry import Geometry, resized
from kzoo.data.image.preprocess import ImagePreprocess
from kzoo.data.splits import MODALITIES, Modality

__all__ = ["Geometry", "ImageAugment", "ImagePreprocess", "resized"]

MODALITIES["image"] = Modality(ImagePreprocess, ImageAugment)
