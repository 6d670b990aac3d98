"""Keras layers of hand-made features: no gradient changes them; some take values from a look at the training inputs.

This package imports Keras at once; what needs it imports it when a network is built or loaded. `kzoo.fit` calls
`adapt(inputs, labels, seed)` of every layer of this package that has it, before it trains what follows.
"""

from kzoo.nn.handcrafted.banks import ImageBank, SincBank
from kzoo.nn.handcrafted.hog import BLOCK_NORMS, HOG
from kzoo.nn.handcrafted.minirocket import KERNELS, TAPS, MiniRocketFeatures, dilations
from kzoo.nn.handcrafted.neighbours import NearestNeighbours
from kzoo.nn.handcrafted.statistics import TimeStatistics
from kzoo.nn.handcrafted.tfidf import TfIdf
from kzoo.nn.handcrafted.whitened import WhitenedConv

__all__ = [
    "BLOCK_NORMS",
    "HOG",
    "KERNELS",
    "TAPS",
    "ImageBank",
    "MiniRocketFeatures",
    "NearestNeighbours",
    "SincBank",
    "TfIdf",
    "TimeStatistics",
    "WhitenedConv",
    "dilations",
]
