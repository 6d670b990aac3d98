"""TextCNN: parallel convolutions over n-grams and max-over-time pooling, for sentence classification."""

from dataclasses import dataclass, replace

from kzoo.core.lazy import keras
from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.layers import TokenEmbedding, conv, dropout, global_max_pool, scope

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
    """Bag of learned n-grams, wherever they occur.

    Maps a feature map of at least `max(kernels)` positions per axis to a vector of `len(kernels) * filters` values: the
    largest response of each filter over all positions. The paper's max-norm constraint on the classifier is left to the
    training.

    Args:
        kernels: kernel sizes, i.e. lengths of the n-grams; squares on an image or spectrogram.
        filters: filters of each kernel size.
        dropout: dropout rate before the classifier, in [0, 1).
        multichannel: embed token ids twice, in a trained and in a fixed channel that both begin with the pretrained
            vectors. Each filter is applied to both channels and the results are added, which is the filter of the sum.

    Raises:
        ValueError: for no kernels, an input shorter than the largest, or two channels of what is no token ids.
    """

    kernels: tuple[int, ...] = (3, 4, 5)
    filters: int = 100
    dropout: float = 0.5
    multichannel: bool = False

    def __call__(self, x):
        if self.multichannel:
            raise ValueError("multichannel=True is for token ids, which need vocab_size")
        return self.most_similar(x)

    def tokens(self, ids, embedding: TokenEmbedding):
        """Map token ids (batch, length) to the vector of their embedding, or of the sum of two."""
        x = embedding(ids)
        if self.multichannel:
            with scope("static"):
                x = keras.layers.Add()([replace(embedding, trainable=False)(ids), x])
        return self.most_similar(x)

    def most_similar(self, x):
        """Return the largest response of each filter to a feature map."""
        if not self.kernels:
            raise ValueError("kernels must hold at least one size of n-grams")
        with scope("ngrams"):
            ngrams = [conv(x, self.filters, size, padding="valid", activation="relu") for size in self.kernels]
        vectors = [global_max_pool(ngram) for ngram in ngrams]
        return dropout(keras.ops.concatenate(vectors, axis=-1), self.dropout)
