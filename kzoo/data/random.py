"""What all augmentations share: random numbers as a function of a seed alone, spans to hide, ranges of arguments."""

from kzoo.core.lazy import tf


def fold(seed, number: int):
    """Return a new seed for another purpose."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def signed_uniform(count, seed):
    """Draw `count` numbers between -1 and 1."""
    return tf.random.stateless_uniform([count], seed, -1.0, 1.0)


def uniform(count, seed):
    """Draw `count` numbers from 0 to below 1."""
    return tf.random.stateless_uniform([count], seed)


def inside(size, start, length):
    """Return which of `size` places lie in the span of each example, bool (batch, size).

    Args:
        size: places on the axis.
        start: first place of each span, integers (batch,); may lie outside.
        length: places in it, (batch,) or one for all.
    """
    places = tf.range(size)[None]
    return (places >= start[:, None]) & (places < (start + length)[:, None])


def check_ranges(augment, ranges: dict[str, float]) -> None:
    """Raise a ValueError for a field that is no number from 0 to its greatest value.

    Args:
        augment: a dataclass of augmentations.
        ranges: the greatest value of each field.
    """
    for name, highest in ranges.items():
        value = getattr(augment, name)
        if not (isinstance(value, (int, float)) and 0 <= value <= highest):
            raise ValueError(f"augment.{name} must lie between 0 and {highest}, got {value!r}")
