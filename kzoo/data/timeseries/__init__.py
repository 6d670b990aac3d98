"""Time series data: file reading, preprocessing, augmentation and datasets."""

from kzoo.data.augment import Augment
from kzoo.data.splits import MODALITIES, Modality
from kzoo.data.timeseries import adding, files, music, sets, steps  # noqa: F401  (register their datasets)
from kzoo.data.timeseries.augment import SeriesAugment
from kzoo.data.timeseries.files import SeriesExamples
from kzoo.data.timeseries.forecast import ForecastPreprocess
from kzoo.data.timeseries.preprocess import SeriesPreprocess

__all__ = ["ForecastPreprocess", "SeriesAugment", "SeriesExamples", "SeriesPreprocess"]

MODALITIES["timeseries"] = Modality(SeriesPreprocess, SeriesAugment)
MODALITIES["forecast"] = Modality(ForecastPreprocess, Augment)
