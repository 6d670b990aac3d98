"""Random changes of batches of strings, drawn from a seed alone."""

from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.data.augment import Augment
from kzoo.data.random import fold


@dataclass(frozen=True)
class TextAugment(Augment):
    """Leave out words or characters of each text of a batch, at random; a text of which nothing is left stays whole.

    Args:
        word_dropout: fraction of the words, in [0, 1); what is left is joined by single spaces.
        character_dropout: fraction of the characters, in [0, 1).

    Raises:
        ValueError: for a value out of its range.
    """

    word_dropout: float = 0.0
    character_dropout: float = 0.0

    def __post_init__(self):
        for name in ("word_dropout", "character_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"augment.{name} must be at least 0 and below 1, got {getattr(self, name)}")

    def __call__(self, texts, seed):
        """Return a changed batch of strings (batch,), a pure function of the batch and the seed (2,)."""
        texts = tf.convert_to_tensor(texts, tf.string)
        if self.word_dropout:
            texts = thinned(texts, tf.strings.split(texts), " ", self.word_dropout, fold(seed, 1))
        if self.character_dropout:
            characters = tf.strings.unicode_split(texts, "UTF-8", errors="replace")
            texts = thinned(texts, characters, "", self.character_dropout, fold(seed, 2))
        return texts


def thinned(texts, tokens, separator: str, fraction: float, seed):
    """Join what a random choice leaves of the tokens of each text."""
    keep = tf.random.stateless_uniform(tf.shape(tokens.flat_values), seed) >= fraction
    kept = tf.ragged.boolean_mask(tokens, tokens.with_flat_values(keep))
    joined = tf.strings.reduce_join(kept, axis=-1, separator=separator)
    return tf.where(kept.row_lengths() > 0, joined, texts)
