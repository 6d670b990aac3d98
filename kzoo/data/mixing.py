"""Mixup and CutMix for features of any rank."""

from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.data.augment import Augment
from kzoo.data.random import check_ranges, fold, inside, uniform


@dataclass(frozen=True, kw_only=True)
class Mixing(Augment):
    """Mix each example of a batch with the one before it, with a weight drawn for each pair from Beta(alpha, alpha).

    With both, each batch is mixed by one of the two, chosen at random with equal probability.

    Args:
        mixup: alpha of the weighted mean of two examples (Zhang et al., 2018, https://arxiv.org/abs/1710.09412); 0 for
            none.
        cutmix: alpha of the area of a box that is replaced by the other example, over all axes but the channels; it
            may extend beyond the edge (Yun et al., 2019, https://arxiv.org/abs/1905.04899); 0 for none.

    Raises:
        ValueError: for a value out of its range.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        check_ranges(self, {"mixup": 100, "cutmix": 100})

    def mix(self, features, labels, num_outputs: int, seed, preprocess):
        """Return mixed features, and mixed float32 labels (batch, num_outputs); class indices become probabilities.

        Without mixup and cutmix both are unchanged: labels stay class indices.

        Args:
            features: preprocessed, float (batch, ..., channels).
            labels: class indices, (batch,), or numbers (batch, num_outputs).
            num_outputs: of the network.
            seed: integer tensor of shape (2,).
            preprocess: says which axes the features have.
        """
        if not (self.mixup or self.cutmix):
            return features, labels
        own = self.own_weight(tf.shape(features), self.cut_axes(preprocess), seed)
        mean = tf.reduce_mean(own, axis=list(range(1, len(features.shape))))[:, None]
        targets = tf.one_hot(labels, num_outputs) if labels.dtype.is_integer else labels
        return tf.ensure_shape(mixed(features, own), features.shape), mixed(targets, mean)

    def cut_axes(self, preprocess) -> tuple[int, ...]:
        """Return the axes along which a box is cut: all but the batch and the channels."""
        return tuple(range(1, len(preprocess.input_shape)))

    def own_weight(self, shape, axes: tuple[int, ...], seed):
        """Return the weight of the example itself, 0 to 1, of a shape that broadcasts to the features."""

        def of_mixup():
            return tf.reshape(beta(shape[0], self.mixup, fold(seed, 1)), [-1] + [1] * (shape.shape[0] - 1))

        def of_cutmix():
            return 1 - boxes(shape, axes, beta(shape[0], self.cutmix, fold(seed, 2)), fold(seed, 3))

        if not self.cutmix:
            return of_mixup()
        if not self.mixup:
            return of_cutmix()
        return tf.cond(uniform(1, fold(seed, 4))[0] < 0.5, of_mixup, of_cutmix)


def mixed(values, own):
    """Return the weighted mean of each example and the one before it in the batch, which is shuffled."""
    return own * values + (1 - own) * tf.roll(values, 1, axis=0)


def beta(count, concentration: float, seed):
    """Draw `count` numbers between 0 and 1 from Beta(concentration, concentration).

    Computed as x / (x + y) of two gamma variables in the logarithmic domain, since small concentrations would give
    0 / 0. Each is a gamma variable of concentration + 1 times a power of a uniform variable (Marsaglia, Tsang, 2000).
    """

    def log_gamma(seed):
        gamma = tf.random.stateless_gamma([count], fold(seed, 1), alpha=concentration + 1.0)
        return tf.math.log(gamma) + tf.math.log(1 - uniform(count, fold(seed, 2))) / concentration

    return tf.sigmoid(log_gamma(fold(seed, 1)) - log_gamma(fold(seed, 2)))


def boxes(shape, axes: tuple[int, ...], area, seed):
    """Return 1 in a box of each example and 0 elsewhere, float of rank `shape`, with 1 channel.

    Args:
        shape: of the features.
        axes: along which the box is cut; it covers the others.
        area: fraction of the example that the box covers if no part of it lies outside, (batch,).
        seed: integer tensor of shape (2,).
    """
    result = tf.ones([1] * shape.shape[0])
    for axis in axes:
        side = tf.cast(tf.cast(shape[axis], tf.float32) * area ** (1 / len(axes)), tf.int32)
        centre = tf.random.stateless_uniform([shape[0]], fold(seed, axis), 0, shape[axis], tf.int32)
        span = tf.cast(inside(shape[axis], centre - side // 2, side), tf.float32)
        result *= tf.reshape(
            span, [-1] + [shape[axis] if dimension == axis else 1 for dimension in range(1, shape.shape[0])]
        )
    return result
