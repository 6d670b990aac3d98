"""RandAugment on batches of images: each operation runs once, on all images that drew it."""

import math

from kzoo.core.lazy import tf
from kzoo.data.image.affine import affine_nearest
from kzoo.data.random import fold, signed_uniform


def randaugment(images, magnitude: float, seed, operations: int = 2):
    """Apply `operations` random operations, one after another, to each image.

    The operations and their largest strengths (at magnitude 30) are the paper's; translations are up to a third of the
    image, as in its code, and shears are about the centre. The results equal Pillow's to within 1 of 255; geometric
    operations use nearest-neighbour interpolation, as in the paper's code. (Cubuk, Zoph, Shlens, Le, 2019,
    https://arxiv.org/abs/1909.13719.)

    Args:
        images: 8-bit, (batch, height, width, channels); 3 channels are red, green and blue.
        magnitude: 0 to 30.
        seed: integer tensor of shape (2,).
        operations: number of operations per image.
    """
    count = tf.shape(images)[0]
    for number in range(operations):
        seeds = fold(seed, 2 * number), fold(seed, 2 * number + 1)
        choice = tf.random.stateless_uniform([count], seeds[0], 0, len(OPERATIONS), tf.int32)
        images = operate(images, choice, magnitude / 30 * tf.sign(signed_uniform(count, seeds[1])))
    return images


def trivialaugment(images, seed):
    """Apply one random operation of a random strength to each image, with TrivialAugment's wide ranges.

    (Müller, Hutter, 2021, https://arxiv.org/abs/2103.10158.)

    Args:
        images: 8-bit, (batch, height, width, channels).
        seed: integer tensor of shape (2,).
    """
    count, height, width = tf.unstack(tf.shape(images)[:3])
    pixels = {"translate_x": 96 / width, "translate_y": 96 / height}  # up to 32, of a third of the image
    widths = tf.stack([tf.cast(pixels.get(name, WIDE.get(name, 1.0)), tf.float32) for name in OPERATIONS])
    choice = tf.random.stateless_uniform([count], fold(seed, 1), 0, len(OPERATIONS), tf.int32)
    return operate(images, choice, tf.gather(widths, choice) * signed_uniform(count, fold(seed, 2)))


def operate(images, choice, strength):
    """Apply the chosen operation to each image.

    Args:
        images: 8-bit, (batch, height, width, channels).
        choice: index into `OPERATIONS`, (batch,).
        strength: -1 to 1, (batch,).
    """
    indices, groups, strengths = (
        tf.dynamic_partition(tensor, choice, len(OPERATIONS))
        for tensor in (tf.range(tf.size(choice)), images, strength)
    )
    changed = [operation(*of_it) for operation, *of_it in zip(OPERATIONS.values(), groups, strengths, strict=True)]
    return tf.ensure_shape(tf.dynamic_stitch(indices, changed), images.shape)


def each(numbers):
    """Return numbers (batch,) in a shape that broadcasts to images."""
    return numbers[:, None, None, None]


def to_bytes(values):
    """Return values clipped and truncated to 8 bits, as in Pillow."""
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), tf.uint8)


def blend(images, other, strength):
    """Extrapolate away from `other` (strength above 0) or interpolate towards it (below), by up to 0.9."""
    return extrapolate(images, other, 1 + 0.9 * strength)


def extrapolate(images, other, factor):
    """Return `other` for a factor of 0, the images for 1, and beyond them for a larger one, (batch,)."""
    images = tf.cast(images, tf.float32)
    return to_bytes(other + each(factor) * (images - other))


def grey(images):
    """Return the luma of each pixel (BT.601, as Pillow's "L"), rounded, (batch, height, width, 1)."""
    values = tf.cast(images, tf.float32)
    channels = images.shape[-1]
    weights = tf.constant([0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels)
    pixels = tf.matmul(tf.reshape(values, [-1, channels]), weights[:, None])  # faster than a sum over few channels
    return tf.floor(tf.reshape(pixels, tf.shape(values[..., :1])) + 0.5)


def identity(images, strength):
    """Change nothing."""
    return images


def auto_contrast(images, strength):
    """Stretch each channel to the full range; a constant channel is unchanged."""
    reduced = (reduce(images, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    low, high = (tf.cast(value, tf.float32) for value in reduced)
    scale = tf.where(high > low, 255 / tf.maximum(high - low, 1), 1)
    return to_bytes((tf.cast(images, tf.float32) - tf.where(high > low, low, 0)) * scale)


def equalize(images, strength):
    """Equalise the histogram of each channel; images of fewer than 256 pixels are unchanged."""
    count, height, width, channels = tf.unstack(tf.shape(images))
    entries = 256 * channels  # in an image's tables, one for each channel
    of_channel = tf.tile(256 * tf.range(channels), [height * width])
    flat = tf.reshape(tf.cast(images, tf.int32), [count, height * width * channels]) + of_channel
    flat = tf.reshape(flat + entries * tf.range(count)[:, None], [-1])
    counts = tf.raw_ops.DenseBincount(input=flat, size=count * entries, weights=tf.zeros([0], tf.int32))
    tables = equalizing_tables(tf.reshape(counts, [-1, 256]))
    return tf.reshape(tf.gather(tf.reshape(tables, [-1]), flat), tf.shape(images))


def equalizing_tables(counts):
    """Return the lookup tables of Pillow's equalisation for histograms (n, 256), uint8 (n, 256)."""
    values = tf.range(256)[None]
    greatest = tf.reduce_max(tf.where(counts > 0, values, 0), axis=1)
    step = (tf.reduce_sum(counts, axis=1) - tf.gather(counts, greatest, batch_dims=1))[:, None] // 255
    table = (tf.cumsum(counts, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    return tf.cast(tf.where(step > 0, tf.minimum(table, 255), values), tf.uint8)


def posterize(images, strength):
    """Keep the 8 to 4 most significant bits."""
    step = 2.0 ** tf.round(4 * tf.abs(strength))
    return tf.bitwise.bitwise_and(images, each(tf.cast(256 - step, tf.uint8)))


def solarize(images, strength):
    """Invert values at or above a threshold, 256 down to 0."""
    threshold = each(256 * (1 - tf.abs(strength)))
    above = tf.cast(tf.cast(images, tf.float32) >= threshold, tf.uint8)
    return tf.bitwise.bitwise_xor(images, 255 * above)  # several times as fast as tf.where


def colour(images, strength):
    return blend(images, grey(images), strength)


def contrast(images, strength):
    return blend(images, mean_grey(images), strength)


def mean_grey(images):
    """Return the mean luma of each image, rounded, (batch, 1, 1, 1)."""
    return tf.floor(tf.reduce_mean(grey(images), axis=(1, 2), keepdims=True) + 0.5)


def brightness(images, strength):
    return blend(images, 0.0, strength)


def sharpness(images, strength):
    """Sharpen or smooth with a 3 x 3 mean in which the centre has weight 5; the border is unchanged."""
    values = tf.cast(images, tf.float32)
    inner = values[:, 1:-1, 1:-1]
    smooth = tf.floor((9 * tf.nn.avg_pool2d(values, 3, 1, "VALID") + 4 * inner) / 13 + 0.5)
    return blend(images, values - tf.pad(inner - smooth, [[0, 0], [1, 1], [1, 1], [0, 0]]), strength)


def warp(images, a=1.0, b=0.0, c=0.0, d=1.0, right=0.0, down=0.0):
    """Transform images by a matrix and a translation in pixels, each a number or one per image."""
    numbers = [tf.broadcast_to(number, tf.shape(images)[:1]) for number in (a, b, c, d, right, down)]
    return affine_nearest(images, tf.stack(numbers[:4], axis=1), *numbers[4:])


def rotate(images, strength):
    angle = strength * math.radians(30)
    return warp(images, tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))


def shear_x(images, strength):
    return warp(images, b=0.3 * strength)


def shear_y(images, strength):
    return warp(images, c=0.3 * strength)


def translate_x(images, strength):
    return warp(images, right=strength * tf.cast(tf.shape(images)[2], tf.float32) / 3)


def translate_y(images, strength):
    return warp(images, down=strength * tf.cast(tf.shape(images)[1], tf.float32) / 3)


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        identity,
        auto_contrast,
        equalize,
        rotate,
        posterize,
        sharpness,
        solarize,
        colour,
        contrast,
        brightness,
        shear_x,
        shear_y,
        translate_x,
        translate_y,
    )
}
# largest strength in TrivialAugment, relative to RandAugment's: 135 degrees, shears and blends of 0.99, 6 bits
WIDE = {"rotate": 4.5, "shear_x": 3.3, "shear_y": 3.3, "posterize": 1.5}
WIDE |= dict.fromkeys(("sharpness", "colour", "contrast", "brightness"), 1.1)
