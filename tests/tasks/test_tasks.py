"""The loss and the metric of classification, for both forms of labels, against formulas in numpy."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.tasks import Classification
from kzoo.tasks.class_weights import balanced_weights
from kzoo.tasks.losses import ClassificationLoss
from kzoo.tasks.metrics import ClassificationAccuracy, ClassificationCrossEntropy

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0], [-3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], "float32")
NUMBERS = np.array([0, 1, 2, 0], "int32")
ROWS = np.eye(3, dtype="float32")[NUMBERS]
MIXED = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6], [0.5, 0.0, 0.5]], "float32")
WEIGHTS = (1.0, 2.0, 0.5)


def probabilities():
    return np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def loss(labels, *arguments, logits=LOGITS, **options):
    return keras.ops.convert_to_numpy(ClassificationLoss(*arguments, **options).call(labels, logits))


@pytest.mark.parametrize("labels", [NUMBERS, NUMBERS[:, None], NUMBERS.astype("float32"), ROWS])
def test_the_crossentropy_of_either_form(labels):
    np.testing.assert_allclose(loss(labels), -np.log(probabilities()[range(4), NUMBERS]), rtol=1e-5)


def test_the_crossentropy_of_mixed_labels():
    np.testing.assert_allclose(loss(MIXED), -(MIXED * np.log(probabilities())).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("labels, targets", [(NUMBERS, ROWS), (MIXED, MIXED)])
def test_label_smoothing(labels, targets):
    smoothed = 0.9 * targets + 0.1 / 3
    np.testing.assert_allclose(loss(labels, 0.1), -(smoothed * np.log(probabilities())).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("labels, targets", [(NUMBERS, ROWS), (MIXED, MIXED)])
def test_the_focal_loss(labels, targets, gamma):
    p = probabilities()
    np.testing.assert_allclose(
        loss(labels, focal_gamma=gamma), -(targets * (1 - p) ** gamma * np.log(p)).sum(-1), rtol=1e-5
    )
    theirs = keras.losses.categorical_focal_crossentropy(targets, LOGITS, 1.0, gamma, from_logits=True)
    np.testing.assert_allclose(loss(labels, focal_gamma=gamma), theirs, rtol=1e-5)


def test_a_hopeless_example_still_has_a_gradient_under_the_focal_loss():
    """Keras's clips probabilities at 1e-7."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes the gradient with TensorFlow")
    import tensorflow as tf

    logits = tf.constant([[30.0, 0.0, 0.0], [200.0, 0.0, 0.0]])
    for gamma in (0.5, 2.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = ClassificationLoss(focal_gamma=gamma).call(np.array([1, 0]), logits)
        gradient = tape.gradient(losses, logits).numpy()
        np.testing.assert_allclose(gradient[0], [1, -1, 0], atol=1e-3)
        np.testing.assert_allclose(gradient[1], 0, atol=1e-3)


def test_an_example_counts_as_its_class_does():
    plain = loss(NUMBERS, 0.1)
    np.testing.assert_allclose(loss(NUMBERS, 0.1, WEIGHTS), plain * np.array(WEIGHTS)[NUMBERS], rtol=1e-5)
    np.testing.assert_allclose(loss(MIXED, 0.0, WEIGHTS), loss(MIXED) * (MIXED @ WEIGHTS), rtol=1e-5)
    np.testing.assert_allclose(loss(MIXED, 0.0, np.array(WEIGHTS)), loss(MIXED, 0.0, WEIGHTS))


def test_class_weights_are_those_of_keras(digits):
    """In `fit`, Keras multiplies each example's loss by the weight of its class."""
    inputs, labels = next(digits.train_batches().as_numpy_iterator())
    weights = tuple(np.linspace(0.1, 2.0, 10).tolist())
    found = []
    for ours, theirs in ((weights, None), (None, dict(enumerate(weights)))):
        keras.utils.set_random_seed(0)
        model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same")
        model.compile("sgd", ClassificationLoss(class_weights=ours), jit_compile=False)
        model.fit(inputs, labels, class_weight=theirs, epochs=2, verbose=0, shuffle=False)
        found.append(model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_balanced_weights_make_classes_equal():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(labels, 3)
    assert weights == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert np.bincount(labels, np.array(weights)[labels]) == pytest.approx([10 / 3] * 3)
    with pytest.raises(ValueError, match="class 3 has none"):
        balanced_weights(labels, 4)


def test_the_loss_is_computed_in_float32():
    half = keras.ops.cast(1000 * LOGITS[:1], "float16")
    assert keras.backend.standardize_dtype(ClassificationLoss().call(NUMBERS[:1], half).dtype) == "float32"
    assert np.isfinite(loss(NUMBERS[:1], logits=half)).all()


@pytest.mark.parametrize("labels", [NUMBERS, NUMBERS[:, None], NUMBERS.astype("float32"), ROWS])
def test_accuracy_of_either_form(labels):
    metric = ClassificationAccuracy()
    assert metric.name == "accuracy"
    assert len(metric.variables) == 2  # before it has seen anything
    metric.update_state(labels, LOGITS)
    assert float(metric.result()) == 0.5  # the first and, as the first of equals, the last


def test_accuracy_of_mixed_labels_is_that_of_the_most_probable_class():
    metric = ClassificationAccuracy()
    metric.update_state(np.array([[0.4, 0.6, 0.0]]), np.array([[0.0, 1.0, 0.0]]))
    metric.update_state(np.array([[0.6, 0.4, 0.0]]), np.array([[0.0, 1.0, 0.0]]))
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize("mixed", [False, True])
def test_a_network_is_trained_with_either_form(mixed, digits):
    model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same")
    task = Classification(("a", "b", "c"))
    model.compile("adam", task.loss(label_smoothing=0.1), metrics=task.metrics(), jit_compile=False)
    inputs, labels = next(digits.train_batches().as_numpy_iterator())
    labels = np.eye(10, dtype="float32")[labels] if mixed else labels
    history = model.fit(inputs, labels, epochs=2, verbose=0, validation_data=digits.validation).history
    names = {"loss", "accuracy", "crossentropy"}
    assert names | {f"val_{name}" for name in names} == set(history)
    logits = model.predict(digits.validation, verbose=0)
    truth = digits.examples["validation"].labels
    assert history["val_accuracy"][-1] == pytest.approx((logits.argmax(-1) == truth).mean(), abs=1e-6)


def test_one_weight_for_each_class():
    with pytest.raises(ValueError, match="class_weights must be one number for each of 3 classes, got 2"):
        loss(NUMBERS, class_weights=(1.0, 1.0))
    with pytest.raises(ValueError, match="class_weights of the loss must be one number for each class, got {0: 1.0"):
        loss(NUMBERS, class_weights={0: 1.0, 1: 5.0, 2: 1.0})


@pytest.mark.parametrize("labels", [NUMBERS, NUMBERS[:, None], ROWS])
def test_the_metric_is_the_plain_crossentropy(labels):
    metric = ClassificationCrossEntropy()
    metric.update_state(labels, LOGITS)
    assert float(metric.result()) == pytest.approx(-np.log(probabilities()[range(4), NUMBERS]).mean(), rel=1e-5)


def test_loss_and_metrics_are_saved():
    loss = ClassificationLoss(0.1, WEIGHTS, 2.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    np.testing.assert_array_equal(again(NUMBERS, LOGITS), loss(NUMBERS, LOGITS))
    for metric in Classification(("a", "b", "c")).metrics():
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert (type(again), again.name) == (type(metric), metric.name)
