"""Classical baselines: hand-crafted features with a linear classifier, and the nearest neighbour.

The features are layers of `kzoo.nn.handcrafted`. `kzoo.fit(..., solver="svm")` or "logistic" solves the linear layer
behind them, so that they are fitted, evaluated, saved and served like any network.
"""

from dataclasses import dataclass

from kzoo.core.lazy import lazy_import
from kzoo.core.registry import MNIST, Paper, Reference, lookup, register_model
from kzoo.models.fcn_tsc import GUNPOINT
from kzoo.nn.layers import InputTooSmall, TokenEmbedding, address, flatten, named_output, scope

handcrafted = lazy_import("kzoo.nn.handcrafted")

DALAL_2005 = Paper(
    "Dalal, Navneet and Triggs, Bill",
    2005,
    "Histograms of Oriented Gradients for Human Detection",
    "https://doi.org/10.1109/CVPR.2005.177",
    "CVPR",
)
DAVIS_1980 = Paper(
    "Davis, Steven B. and Mermelstein, Paul",
    1980,
    "Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously Spoken Sentences",
    "https://doi.org/10.1109/TASSP.1980.1163420",
    "TASSP",
)
SPARCK_JONES_1972 = Paper(
    "Sparck Jones, Karen",
    1972,
    "A Statistical Interpretation of Term Specificity and its Application in Retrieval",
    "https://doi.org/10.1108/eb026526",
    "Journal of Documentation",
)
COVER_1967 = Paper(
    "Cover, Thomas M. and Hart, Peter E.",
    1967,
    "Nearest Neighbor Pattern Classification",
    "https://doi.org/10.1109/TIT.1967.1053964",
    "IEEE Transactions on Information Theory",
)

MFCCS = Reference((101, 13), 10)  # one second in 13 cepstra every 10 milliseconds
BAG = Reference((64, 1000), 6)  # counts of 1,000 tokens


# 28 pixels have 7 cells of 4, so 5 blocks of 3 along each side: 25 * 9 * 9 = 2,025 features, and 2,025*10 + 10 weights.
@register_model("hog_svm", DALAL_2005, 20_260, MNIST, dims=(2,))
@dataclass(frozen=True)
class HogClassifier:
    """Histograms of oriented gradients (HOG) with a linear support vector machine.

    Maps images of fixed size to a vector; the histograms of the blocks are named `stage1`. Train with
    `kzoo.fit(..., solver="svm")`, which solves the linear layer. The paper interpolates between neighbouring bins
    and cells; here, as in scikit-image, each gradient counts for one.

    Args:
        cell: pixels along a side of a cell; 8 in the paper, for pedestrians 128 pixels high.
        block: cells along a side of a block, within which histograms are normalised.
        orientations: bins of the angle, from 0 to 180 degrees.
        block_norm: "l2_hys" (L2, clipped at 0.2 and renormalised) or "l1_sqrt" (square root of L1).

    Raises:
        ValueError: for an unknown norm, a value below 1, or an image of unknown size or smaller than a block.
    """

    cell: int = 4
    block: int = 3
    orientations: int = 9
    block_norm: str = "l2_hys"

    def __post_init__(self):
        if min(self.cell, self.block, self.orientations) < 1:
            raise ValueError(
                "cell, block and orientations must be at least 1, got "
                f"{self.cell}, {self.block} and {self.orientations}"
            )

    def __call__(self, x):
        if min(size or self.cell * self.block for size in x.shape[1:3]) < self.cell * self.block:
            raise InputTooSmall(f"a block of {self.cell * self.block} pixels does not fit into {tuple(x.shape[1:3])}")
        lookup("block_norm", self.block_norm, handcrafted.BLOCK_NORMS)
        with scope("stage1"):
            layer = handcrafted.HOG(self.cell, self.block, self.orientations, self.block_norm, name=address("hog"))
        return flatten(named_output(layer(x), "stage1"))


# 8 statistics of 13 cepstra: 104*10 + 10 weights.
@register_model("mfcc_svm", DAVIS_1980, 1_050, MFCCS, dims=(1,))
@dataclass(frozen=True)
class StatisticsClassifier:
    """Mean, standard deviation, minimum and maximum over time of each cepstrum and of its delta.

    Maps a feature map (batch, length, channels) of any length to a vector of 8 values per channel, named `stage1`; its
    data are MFCCs: `feature="mfcc", layout="time"`. Train with `kzoo.fit(..., solver="svm")`. The paper compares the
    cepstra by dynamic time warping; a support vector machine on their statistics came later.
    """

    def __call__(self, x):
        with scope("stage1"):
            layer = handcrafted.TimeStatistics(name=address("statistics"))
        return named_output(layer(x), "stage1")


# 1,000 tokens: 1,000*6 + 6 weights; the 1,000 inverse document frequencies are not trained.
@register_model("tfidf", SPARCK_JONES_1972, 6_006, BAG, dims=(1,))
@dataclass(frozen=True)
class TfIdfClassifier:
    """Bag of words weighted by TF-IDF, with a linear classifier.

    Maps token ids to a vector as long as the vocabulary, named `stage1`, without embedding them; word order is lost. A
    feature map (batch, length, channels) is taken as counts, one channel for each word. Train with
    `kzoo.fit(..., solver="logistic")`.
    """

    def __call__(self, x):
        return self.tokens(x, None)

    def tokens(self, x, embedding: TokenEmbedding | None):
        """Map token ids (batch, length) to their TF-IDF vector; of the embedding the number of ids is used."""
        with scope("stage1"):
            layer = handcrafted.TfIdf(embedding and embedding.vocab_size, name=address("tfidf"))
        return named_output(layer(x), "stage1")


# Nothing is trained; 1,000 * (150 + 2) + 1 numbers are stored.
@register_model("nearest_neighbour", COVER_1967, 0, GUNPOINT, dims=(1,))
@dataclass(frozen=True)
class NearestNeighbour:
    """Nearest training series of each class by Euclidean distance (1-NN).

    Maps series of fixed length to logits: minus the distance to the nearest training series of each class, times an
    inverse temperature. There are no trainable weights: `kzoo.fit` stores the training
    series.

    Args:
        room: maximum number of training series that are stored.

    Raises:
        ValueError: for a `room` below 1, or a series of unknown length.
    """

    room: int = 1000

    only_published = True  # the labels of the examples that it stores are classes

    def __post_init__(self):
        if self.room < 1:
            raise ValueError(f"room must be a positive number of training series, got {self.room}")

    def __call__(self, x):
        return flatten(x)

    def logits(self, x, num_classes: int):
        """Return the scaled negative distances to the training series of each class."""
        return handcrafted.NearestNeighbours(num_classes, self.room, name="logits")(x)
