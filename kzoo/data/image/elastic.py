"""Elastic deformation of batches of images, a different one for each image."""

from kzoo.core.lazy import tf
from kzoo.data.image.affine import as_before

POINTS = 3  # along each side, that are displaced


def elastic(images, deviation: float, seed, nearest: bool = False):
    """Deform each image by smooth random displacements; the outside is 0.

    Each of 3 x 3 points is displaced by normal random numbers, and the displacement of each pixel is their bicubic
    interpolation. (Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597.)

    Args:
        images: batch of shape (batch, height, width, channels).
        deviation: standard deviation of the displacement of a point, in pixels.
        seed: integer tensor of shape (2,).
        nearest: by nearest neighbour, of any type; bilinear otherwise.
    """
    count, height, width = tf.unstack(tf.shape(images)[:3])
    points = deviation * tf.random.stateless_normal([count, POINTS, POINTS, 2], seed)
    moves = tf.image.resize(points, (height, width), "bicubic")
    rows = moves[..., 0] + tf.range(height, dtype=tf.float32)[None, :, None]
    columns = moves[..., 1] + tf.range(width, dtype=tf.float32)[None, None]
    if nearest:
        return tf.ensure_shape(sampled(images, tf.round(rows), tf.round(columns)), images.shape)
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    values = tf.cast(images, tf.float32)

    def row(offset):
        west, east = sampled(values, top + offset, left), sampled(values, top + offset, left + 1)
        return west + right * (east - west)

    above, below = row(0), row(1)
    return tf.ensure_shape(as_before(above + down * (below - above), images.dtype), images.shape)


def sampled(images, rows, columns):
    """Return the pixels of each image at whole-numbered positions (batch, height, width), 0 for those outside."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    count, height, width, channels = tf.unstack(tf.shape(padded))

    def index(position, size):
        return tf.cast(tf.clip_by_value(position + 1, 0, tf.cast(size - 1, tf.float32)), tf.int32)

    first = height * tf.range(count)[:, None, None]
    pixels = tf.reshape(padded, [count * height * width, channels])
    return tf.gather(pixels, (index(rows, height) + first) * width + index(columns, width))
