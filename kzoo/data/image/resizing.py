"""Resizing and centre cropping as a Keras layer, for images whose size is known only when the model is called."""

import keras

from kzoo.data.image.geometry import Geometry, fitted


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
