"""fastText: a linear classifier on the mean of token embeddings, the baseline for text classification."""

from dataclasses import dataclass

from kzoo.core.registry import Paper, Reference, register_model
from kzoo.nn.layers import global_avg_pool

JOULIN_2017 = Paper(
    "Joulin, Armand and Grave, Edouard and Bojanowski, Piotr and Mikolov, Tomas",
    2017,
    "Bag of Tricks for Efficient Text Classification",
    "https://arxiv.org/abs/1607.01759",
    "EACL",
)


# The paper embeds in 10 channels; 10*4 + 4 for the logits of four topics (its code has no biases, ours has).
@register_model("fasttext", JOULIN_2017, 44, Reference((64, 10), 4), dims=(1,))
@dataclass(frozen=True)
class FastText:
    """Bag of embedded tokens, in any order.

    Maps `(batch, length, channels)` to the mean over the length; it has no weights and no hyperparameters of its own:
    the embedding and the classifier belong to the model. The paper's word n-grams are further tokens, which the
    tokenizer hashes into the vocabulary.
    """

    def __call__(self, x):
        return global_avg_pool(x)
