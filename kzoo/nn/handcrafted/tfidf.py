"""TF-IDF: bags of words weighted by inverse document frequency.

Sparck Jones, 1972, A Statistical Interpretation of Term Specificity and its Application in Retrieval; with the
smoothing and the normalisation of `sklearn.feature_extraction.text.TfidfTransformer`.
"""

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures

PADDING = 0  # the token id that stands for no token
CHUNK = 1000  # training texts that are counted at a time


@keras.saving.register_keras_serializable("kzoo")
class TfIdf(Adaptable, FixedFeatures):
    """Token counts times inverse document frequency, L2-normalised; the order of the tokens is ignored.

    Maps token ids (batch, length) to (batch, vocab_size), where id 0 is padding; or a feature map (batch, length,
    channels) to (batch, channels), each position holding counts per channel. A token in d of n training texts has the
    weight 1 + log((1 + n) / (1 + d)), which is not trainable and 1 until `adapt`.

    Args:
        vocab_size: number of token ids; None for feature maps.
    """

    ARGUMENTS = ("vocab_size",)

    def __init__(self, vocab_size: int | None = None, **options):
        super().__init__(**options)
        self.vocab_size = vocab_size

    def build(self, input_shape):
        tokens = self.vocab_size or input_shape[-1]
        self.rarity = self.add_weight(shape=(tokens,), initializer="ones", trainable=False, name="rarity")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.vocab_size or input_shape[-1])

    def call(self, x):
        weighted = self.counts(x) * self.rarity
        squares = keras.ops.sum(keras.ops.square(weighted), axis=-1, keepdims=True)
        return weighted / keras.ops.sqrt(keras.ops.where(squares > 0, squares, 1.0))

    def counts(self, x):
        """Return how often each token occurs in each text, (batch, tokens)."""
        if self.vocab_size is None:
            return keras.ops.sum(x, axis=1)
        texts = keras.ops.shape(x)[0]
        own = keras.ops.cast(x, "int32") + self.vocab_size * keras.ops.arange(texts)[:, None]  # a row for each text
        own = keras.ops.reshape(own, (-1,))
        counts = keras.ops.segment_sum(keras.ops.ones_like(own, "float32"), own, texts * self.vocab_size)
        return keras.ops.reshape(counts, (-1, self.vocab_size)) * (np.arange(self.vocab_size) != PADDING)

    def adapt(self, inputs: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
        """Set the weight of each token from the training inputs of this layer; labels and seed are not used."""
        parts = [self.counts(inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK)]
        texts = sum(np.count_nonzero(keras.ops.convert_to_numpy(part), axis=0) for part in parts)
        self.rarity.assign(1 + np.log((1 + len(inputs)) / (1 + texts)))
