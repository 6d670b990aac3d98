"""Affine transformations of batches of images, a different one for each image."""

from kzoo.core.lazy import tf


def coefficients(images, matrix, right, down) -> list:
    """Return a, b, x, c, d, y, each (batch,): output (i, j) is sampled at (x + a i + b j, y + c i + d j)."""
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    a, b, c, d = tf.unstack(matrix, axis=1)
    x = middle_x - a * (middle_x + right) - b * (middle_y + down)
    y = middle_y - c * (middle_x + right) - d * (middle_y + down)
    return [a, b, x, c, d, y]


def affine_bilinear(images, matrix, right, down):
    """Transform each image by a matrix about its centre, then translate it; the outside is 0.

    Args:
        images: float batch of shape (batch, height, width, channels).
        matrix: (batch, 4), the rows of the 2 x 2 matrix from output to input positions (x, y).
        right: pixels to the right, float (batch,).
        down: pixels down, float (batch,).
    """
    numbers = coefficients(images, matrix, right, down)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*numbers, tf.zeros_like(right), tf.zeros_like(right)], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def as_before(values, dtype):
    """Return floats in the data type of the images that they were computed from, rounded to whole numbers."""
    return values if dtype.is_floating else tf.cast(tf.round(values), dtype)


def affine_nearest(images, matrix, right, down):
    """Transform images of any type as `affine_bilinear`, with nearest-neighbour interpolation.

    One gather of pixels: 3 to 4 times as fast as TensorFlow's transformation (32 x 32 x 3, one core).
    """
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])  # everything outside is sampled from the border
    count, height, width, channels = tf.unstack(tf.shape(padded))
    a, b, x, c, d, y = (number[:, None, None] for number in coefficients(images, matrix, right, down))
    across = tf.range(width - 2, dtype=tf.float32)[None, None]
    along = tf.range(height - 2, dtype=tf.float32)[None, :, None]

    def index(position, size):
        return tf.cast(tf.clip_by_value(position + 1.5, 0, tf.cast(size - 1, tf.float32)), tf.int32)

    row = index(c * across + d * along + y, height) + height * tf.range(count)[:, None, None]
    pixels = tf.reshape(padded, [count * height * width, channels])
    return tf.ensure_shape(tf.gather(pixels, row * width + index(a * across + b * along + x, width)), images.shape)
