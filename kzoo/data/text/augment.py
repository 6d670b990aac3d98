"""Text data augmentation: word and character dropout."""

from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.data.augment import Augment
from kzoo.data.random import fold


@dataclass(frozen=True)
class TextAugment(Augment):
    """Word and character dropout; a text of which nothing would be left is unchanged.

    Args:
        word_dropout: probability of removing a word, in [0, 1); the rest is joined by single spaces.
        character_dropout: probability of removing a character, in [0, 1).

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
        """Return an augmented batch of strings (batch,), a pure function of the batch and the seed (2,)."""
        texts = tf.convert_to_tensor(texts, tf.string)
        if self.word_dropout:
            texts = drop_tokens(texts, tf.strings.split(texts), " ", self.word_dropout, fold(seed, 1))
        if self.character_dropout:
            characters = tf.strings.unicode_split(texts, "UTF-8", errors="replace")
            texts = drop_tokens(texts, characters, "", self.character_dropout, fold(seed, 2))
        return texts


def drop_tokens(texts, tokens, separator: str, fraction: float, seed):
    """Remove random tokens of each text and join the rest."""
    keep = tf.random.stateless_uniform(tf.shape(tokens.flat_values), seed) >= fraction
    kept = tf.ragged.boolean_mask(tokens, tokens.with_flat_values(keep))
    joined = tf.strings.reduce_join(kept, axis=-1, separator=separator)
    return tf.where(kept.row_lengths() > 0, joined, texts)
