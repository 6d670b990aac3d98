"""MixUp and CutMix: examples mixed in pairs, with their labels in the same proportion; of any rank."""

from dataclasses import dataclass

from kzoo.core.lazy import tf
from kzoo.data.random import check_ranges, fold, inside, uniform


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mix each example of a batch of features with the one before it, by a share drawn for each pair from Beta(a, a).

    With both, the batch's seed tells which of the two it gets, one as often as the other.

    Args:
        mixup: a of the weighted mean of both (Zhang et al., 2018, https://arxiv.org/abs/1710.09412); 0 for none.
        cutmix: a of the area of a box that comes from the other example, over every axis but the channels; its rim
            may lie outside (Yun et al., 2019, https://arxiv.org/abs/1905.04899); 0 for none.

    Raises:
        ValueError: for a value out of its range.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        check_ranges(self, {"mixup": 100, "cutmix": 100})

    def mix(self, features, labels, num_classes: int, seed, preprocess):
        """Return mixed features, and float32 labels (batch, num_classes) whose rows sum to 1.

        Both stay as they are, labels as class numbers, if neither mixup nor cutmix is asked for.

        Args:
            features: what `preprocess` returned, float (batch, ..., channels).
            labels: class numbers, (batch,).
            num_classes: how many there are.
            seed: integer tensor of shape (2,).
            preprocess: tells the features' axes.
        """
        if not (self.mixup or self.cutmix):
            return features, labels
        own = self.own_share(tf.shape(features), self.cut_axes(preprocess), seed)
        mean = tf.reduce_mean(own, axis=list(range(1, len(features.shape))))[:, None]
        targets = tf.one_hot(labels, num_classes)
        return tf.ensure_shape(mixed(features, own), features.shape), mixed(targets, mean)

    def cut_axes(self, preprocess) -> tuple[int, ...]:
        """Return the axes on which a box has a beginning and an end: all but the examples and the channels."""
        return tuple(range(1, len(preprocess.input_shape)))

    def own_share(self, shape, axes: tuple[int, ...], seed):
        """Return how much of each feature is the example's own, 0 to 1, of a shape that broadcasts to the features."""

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

    The share of one of two gamma variables in their sum. They are kept as logarithms, each that of concentration + 1
    times a power of a uniform variable (Marsaglia, Tsang, 2000): small concentrations would give 0 / 0.
    """

    def log_gamma(seed):
        gamma = tf.random.stateless_gamma([count], fold(seed, 1), alpha=concentration + 1.0)
        return tf.math.log(gamma) + tf.math.log(1 - uniform(count, fold(seed, 2))) / concentration

    return tf.sigmoid(log_gamma(fold(seed, 1)) - log_gamma(fold(seed, 2)))


def boxes(shape, axes: tuple[int, ...], area, seed):
    """Return 1 in a box of each example and 0 elsewhere, float of rank `shape`, with 1 channel.

    Args:
        shape: of the features.
        axes: on which the box has an end; it covers the others.
        area: share of the example that it covers where none of it lies outside, (batch,).
        seed: integer tensor of shape (2,).
    """
    result = tf.ones([1] * shape.shape[0])
    for axis in axes:
        side = tf.cast(tf.cast(shape[axis], tf.float32) * area ** (1 / len(axes)), tf.int32)
        centre = tf.random.stateless_uniform([shape[0]], fold(seed, axis), 0, shape[axis], tf.int32)
        span = tf.cast(inside(shape[axis], centre - side // 2, side), tf.float32)
        result *= tf.reshape(span, [-1] + [shape[axis] if place == axis else 1 for place in range(1, shape.shape[0])])
    return result
