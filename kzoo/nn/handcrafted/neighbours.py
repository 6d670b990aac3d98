"""Nearest-neighbour classification: a layer that stores the training examples.

Cover, Hart, 1967, Nearest Neighbor Pattern Classification.
"""

import math

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures
from kzoo.nn.solvers import inverse_temperature, sampled_indices

FAR = 1e30  # square of the distance to a class without an example
MOST_LEFT_OUT = 1000  # training examples at most that the inverse temperature is fitted with


@keras.saving.register_keras_serializable("kzoo")
class NearestNeighbours(Adaptable, FixedFeatures):
    """Logits: the negative Euclidean distance to the nearest training example of each class, times a factor.

    Maps vectors (batch, features) to (batch, classes). The examples, their labels and the factor (an inverse
    temperature) are weights that are not trainable; `adapt` sets them.

    Args:
        classes: number of classes.
        room: number of training examples that can be stored.
    """

    ARGUMENTS = ("classes", "room")
    needs_classes = True

    def __init__(self, classes: int, room: int = 1000, **options):
        super().__init__(**options)
        self.classes, self.room = classes, room

    def build(self, input_shape):
        options = {"initializer": "zeros", "trainable": False}
        self.examples = self.add_weight(shape=(self.room, input_shape[-1]), name="examples", **options)
        self.labels = self.add_weight(shape=(self.room, self.classes), name="labels", **options)
        self.inverse_temperature = self.add_weight(shape=(), initializer="ones", trainable=False, name="sharpness")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.classes)

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-accumulates of the products with all kept examples."""
        return math.prod(self.examples.shape)

    def call(self, x):
        return -self.inverse_temperature * self.nearest(self.squares(x))

    def squares(self, x):
        """Return the squares of the distances to all examples, (batch, room)."""
        products = keras.ops.matmul(x, keras.ops.transpose(self.examples))
        squares = [keras.ops.sum(keras.ops.square(rows), axis=-1) for rows in (x, self.examples)]
        return keras.ops.maximum(squares[0][:, None] - 2 * products + squares[1], 0.0)

    def nearest(self, squares):
        """Return the distance to the nearest example of each class, (batch, classes)."""
        of_class = keras.ops.where(self.labels > 0, squares[:, :, None], FAR)
        return keras.ops.sqrt(keras.ops.min(of_class, axis=1) + 1e-12)

    def adapt(self, inputs: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        """Store the training inputs of this layer, and fit the inverse temperature to their pairwise distances.

        Args:
            inputs: (n, features).
            labels: class indices, (n,).
            seed: of the sample of inputs that the inverse temperature is fitted to.

        Raises:
            ValueError: for more examples than there is room for.
        """
        if len(inputs) > self.room:
            raise ValueError(
                f"there are {len(inputs):,} training examples, but room for {self.room:,}; "
                f"build the model with room={len(inputs)}"
            )
        unused = ((0, self.room - len(inputs)), (0, 0))
        self.examples.assign(np.pad(inputs, unused))
        self.labels.assign(np.pad(np.eye(self.classes)[labels], unused))
        some = sampled_indices(len(inputs), MOST_LEFT_OUT, seed)
        self.inverse_temperature.assign(self.fitted_inverse_temperature(inputs, labels, some))

    def fitted_inverse_temperature(self, inputs: np.ndarray, labels: np.ndarray, some: np.ndarray) -> float:
        """Return the factor whose softmax fits the labels best when each of some inputs, by index, is left out in turn.

        It is 1 if none can be left out.
        """
        labels, squares = labels[some], np.array(self.squares(inputs[some].astype("float32")))
        squares[np.arange(len(some)), some] = FAR
        distances = keras.ops.convert_to_numpy(self.nearest(squares)).astype("float64")
        usable = distances[np.arange(len(labels)), labels] < FAR**0.5 / 2  # another one of its class is there
        present = np.unique(labels[usable])
        if len(present) < 2:
            return 1.0
        distances, labels = distances[usable][:, present], np.searchsorted(present, labels[usable])
        spread = float(np.median(distances)) or 1.0
        return inverse_temperature(-distances / spread, labels) / spread
