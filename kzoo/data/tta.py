"""Test-time augmentation (TTA): mirrored and shifted views of raw examples."""

from collections.abc import Callable, Mapping

from kzoo.core.lazy import tf
from kzoo.core.ranges import check_range
from kzoo.core.registry import check_keywords, lookup

View = Callable  # from a raw batch to a raw batch of the same shape


def image_views(*, flip: bool = False, shift: int = 0) -> list[View]:
    """Return views of images: the original, shifts by `shift` pixels along each axis, and all these mirrored.

    Args:
        flip: mirror horizontally as well; twice as many views.
        shift: pixels; nine times as many views. The border is black, as in training.
    """
    check_range("tta.shift", shift, "an integer from 0")
    if not isinstance(flip, bool):
        raise ValueError(f"tta.flip must be true or false, got {flip!r}")
    steps = (0, -shift, shift) if shift else (0,)

    def view(mirror: bool, *by: int) -> View:
        def changed(images):
            images = tf.reverse(images, [len(images.shape) - 2]) if mirror else images
            for axis, amount in zip(range(1, len(images.shape) - 1), by, strict=False):
                images = moved(images, amount, axis)
            return images

        return changed

    return [view(mirror, down, right) for mirror in (False, True)[: 1 + flip] for down in steps for right in steps]


def series_views(*, shift: int = 0) -> list[View]:
    """Return views of series: the original, and shifts by `shift` steps, which repeat the first or last step."""
    check_range("tta.shift", shift, "an integer from 0")
    steps = (0, -shift, shift) if shift else (0,)
    return [lambda series, by=by: moved(series, by, 1, repeat=True) for by in steps]


def audio_views(*, shift: float = 0.0) -> list[View]:
    """Return views of recordings: the original, and shifts by a fraction of the length; the border is silent."""
    check_range("tta.shift", shift, "a fraction in [0, 1)")
    fractions = (0, -shift, shift) if shift else (0,)
    return [lambda waves, by=by: moved(waves, round(by * waves.shape[1]), 1) for by in fractions]


VIEWS = {"image": image_views, "timeseries": series_views, "audio": audio_views}


def views_of(modality: str, tta: Mapping) -> list[View]:
    """Return the views for the keyword arguments of one of `VIEWS`, the original first.

    Raises:
        ValueError: for a modality without test-time augmentation, an unknown keyword, or a value out of its range.
    """
    views = lookup("modality with test-time augmentation", modality, VIEWS)
    check_keywords(f"test-time augmentation of {modality} data,", tta, views)
    return views(**tta)


def moved(batch, by: int, axis: int, *, repeat: bool = False):
    """Shift each example of a batch along one axis.

    Args:
        batch: a tensor of numbers.
        by: positions towards the end; negative towards the beginning.
        axis: along which to shift.
        repeat: fill the border with the nearest value; with 0 otherwise.
    """
    length = tf.shape(batch)[axis]
    indices = tf.range(length) - by
    near = tf.gather(batch, tf.clip_by_value(indices, 0, length - 1), axis=axis)
    if repeat or not by:
        return near
    inside = (indices >= 0) & (indices < length)
    inside = tf.reshape(inside, [-1 if dim == axis else 1 for dim in range(len(batch.shape))])
    return tf.ensure_shape(tf.where(inside, near, tf.zeros_like(near)), batch.shape)
