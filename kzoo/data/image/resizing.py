"""Resizing and centre cropping as Keras layers, for images whose size is known only when the model is called."""

import keras

from kzoo.data.image.geometry import Geometry, fitted, unfitted


@keras.saving.register_keras_serializable("kzoo")
class Fitted(keras.layers.Layer):
    """Bring images to the size of a `Geometry`; its fields are the arguments."""

    def __init__(self, image_size, resize, crop, interpolation, **options):
        super().__init__(**{"dtype": "float32"} | options)
        self.geometry = Geometry(tuple(image_size), resize, crop, interpolation)

    def call(self, images):
        return fitted(keras.ops, images, self.geometry)

    def compute_output_shape(self, shape):
        return (shape[0], *self.geometry.image_size, shape[-1])

    def get_config(self):
        return super().get_config() | vars(self.geometry)


@keras.saving.register_keras_serializable("kzoo")
class Unfitted(Fitted):
    """Bring outputs at each pixel of what `Fitted` returned back to the pixels of the images; see `unfitted`."""

    def call(self, outputs, images):
        height, width = keras.ops.shape(images)[1], keras.ops.shape(images)[2]
        return unfitted(keras.ops, outputs, self.geometry, height, width)

    def compute_output_shape(self, outputs_shape, images_shape):
        return (outputs_shape[0], *images_shape[1:3], outputs_shape[-1])
