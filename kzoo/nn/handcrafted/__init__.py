"""Keras layers of hand-crafted features: not trained by gradients; some are adapted to the training inputs.

This package imports Keras at once; other modules import it when a network is built or loaded. `kzoo.fit` calls `adapt`
of every layer that is an `Adaptable` before it trains the layers that follow.
"""

from kzoo.nn.handcrafted.banks import DetectorBank, ImageBank, SincBank
from kzoo.nn.handcrafted.hog import BLOCK_NORMS, HOG
from kzoo.nn.handcrafted.hydra import HydraFeatures
from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures
from kzoo.nn.handcrafted.minirocket import KERNELS, TAPS, MiniRocketFeatures, dilations
from kzoo.nn.handcrafted.multirocket import MultiRocketFeatures
from kzoo.nn.handcrafted.neighbours import NearestNeighbours
from kzoo.nn.handcrafted.statistics import TimeStatistics
from kzoo.nn.handcrafted.tfidf import TfIdf
from kzoo.nn.handcrafted.whitened import WhitenedConv

__all__ = [
    "BLOCK_NORMS",
    "HOG",
    "KERNELS",
    "TAPS",
    "Adaptable",
    "DetectorBank",
    "FixedFeatures",
    "HydraFeatures",
    "ImageBank",
    "MiniRocketFeatures",
    "MultiRocketFeatures",
    "NearestNeighbours",
    "SincBank",
    "TfIdf",
    "TimeStatistics",
    "WhitenedConv",
    "dilations",
]
