"""TextCNN: one convolution per n-gram size, then the maximum over all places."""

from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.layers import conv, dropout, global_max_pool, scope

KIM_2014 = Paper(
    "Kim, Yoon",
    2014,
    "Convolutional Neural Networks for Sentence Classification",
    "https://arxiv.org/abs/1408.5882",
    "EMNLP",
)


# (3 + 4 + 5) * 300 * 100 + 3 * 100 for the n-grams of 300 word-vector channels, 300 * 2 + 2 for the logits.
@register_model("textcnn", KIM_2014, 360_902, Reference((64, 300), 2))
@dataclass(frozen=True)
class TextCNN:
    """Bag of learned n-grams, whatever their place.

    Maps a feature map of at least `max(kernels)` positions per axis to a vector of `len(kernels) * filters`
    values: how strongly each n-gram is present where it fits best. The paper also bounds the norm of the
    classifier's weights; that is left to the training.

    Args:
        kernels: n-gram sizes, in positions; squares on an image or spectrogram.
        filters: n-grams learned per size.
        dropout: fraction of the vector dropped in training, in [0, 1).

    Raises:
        ValueError: for no kernels, or an input that the largest does not fit into.
    """

    kernels: tuple[int, ...] = (3, 4, 5)
    filters: int = 100
    dropout: float = 0.5

    def __call__(self, x):
        if not self.kernels:
            raise ValueError("kernels must hold at least one size of n-grams")
        with scope("ngrams"):
            ngrams = [conv(x, self.filters, size, padding="valid", activation="relu") for size in self.kernels]
        vectors = [global_max_pool(ngram) for ngram in ngrams]
        return dropout(keras.ops.concatenate(vectors, axis=-1), self.dropout)
