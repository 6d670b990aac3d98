"""A loss and metrics of one's own in `kzoo.fit`: objects, functions, names and descriptions of Keras."""

import keras
import numpy as np
import pytest
from ruamel.yaml import YAML
from small_data import small_splits

import kzoo
from kzoo.tasks.losses import ClassificationLoss
from kzoo.training.objective import loss_of, metrics_of, settings_of
from kzoo.training.recipes import Recipe

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("tests")
class Scaled(keras.losses.Loss):
    """A multiple of the cross-entropy."""

    def __init__(self, factor, name="scaled", **options):
        super().__init__(name=name, **options)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * crossentropy(y_true, y_pred)

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


class Forgetful(keras.metrics.Mean):
    def __init__(self, must):
        super().__init__(name="forgetful")


def crossentropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def margin(labels, logits):
    """Difference between the two largest logits."""
    best = keras.ops.top_k(logits, 2)[0]
    return best[..., 0] - best[..., 1]


@pytest.fixture(scope="module")
def data():
    """Two classes of series, in 5 batches of 8."""
    return small_splits("timeseries")


def network(data):
    keras.utils.set_random_seed(0)
    series = keras.Input(data.input_shape, name="inputs")
    features = keras.layers.GlobalAveragePooling1D()(series)
    return keras.Model(series, keras.layers.Dense(data.num_outputs)(features), name="linear")


def fit(data, **options):
    model = network(data)
    return model, kzoo.fit(model, data, **{"epochs": 2, "learning_rate": 0.03, "verbose": False} | options)


@pytest.mark.parametrize(
    "loss",
    [
        CROSSENTROPY,
        crossentropy,
        Scaled(1.0),
        {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
    ],
)
def test_the_loss_is_the_one_that_is_given(data, loss):
    labels, logits = np.array([0, 1, 1]), np.array([[2.0, 1.0], [0.0, 1.0], [0.5, 0.0]], "float32")
    found = np.mean(loss_of(data, Recipe(loss=loss))(labels, logits))
    assert found == pytest.approx(float(ClassificationLoss()(labels, logits)), rel=1e-5)


def test_the_loss_of_training_and_validation_is_the_users(data):
    _, own = fit(data, epochs=1, optimizer="sgd", learning_rate=1e-9)
    _, history = fit(data, epochs=1, optimizer="sgd", learning_rate=1e-9, loss=Scaled(3.0))
    for name in ("loss", "val_loss"):
        assert history[name][0] == pytest.approx(3 * own[name][0], rel=1e-5)
    assert history["val_crossentropy"] == pytest.approx(own["val_crossentropy"], rel=1e-5)


def test_metrics_of_every_kind_are_in_the_history(data):
    model, history = fit(
        data,
        metrics=[
            keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2"),
            margin,
            {"class_name": "SparseTopKCategoricalAccuracy", "config": {"k": 1, "name": "top1"}},
            "sparse_categorical_accuracy",
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats"),
        ],
    )
    names = ("top2", "margin", "top1", "sparse_categorical_accuracy", "nats")
    assert {f"{prefix}{name}" for name in names for prefix in ("", "val_")} <= set(history)
    assert history["val_top2"] == [1.0, 1.0]
    assert history["val_sparse_categorical_accuracy"] == pytest.approx(history["val_accuracy"])
    assert history["val_nats"] == pytest.approx(history["val_crossentropy"], rel=1e-5)
    logits = np.sort(model.predict(data.validation, verbose=0))
    assert (logits[:, 1] - logits[:, 0]).mean() == pytest.approx(history["val_margin"][-1], rel=1e-4)


def test_a_metric_that_is_given_by_name_is_called_so(data):
    """Keras numbers those that are made without a name."""
    for _ in range(2):
        (*_, found) = metrics_of(data, Recipe(metrics=["sparse_categorical_accuracy"]))
        assert found.name == "sparse_categorical_accuracy"


def test_a_metric_has_no_state_of_an_earlier_training(data):
    given = keras.metrics.SparseTopKCategoricalAccuracy(1, name="top1")
    wrong, right = np.array([[[0.0, 1.0]], [[1.0, 0.0]]], "float32")
    given.update_state(np.array([0]), wrong)
    (*_, found) = metrics_of(data, Recipe(metrics=[given]))
    assert found is not given
    found.update_state(np.array([0]), right)
    assert float(found.result()) == 1.0


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 7:
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_with_them_and_records_them(data, tmp_path):
    given = {"loss": Scaled(3.0), "metrics": [keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2"), margin]}
    model, history = fit(data, **given)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(data, callbacks=[Interrupt()], run_dir=folder, checkpoint_steps=1, **given)
    resumed, found = fit(data, run_dir=folder, **given)
    for name, values in history.items():
        assert found[name] == pytest.approx(values, rel=1e-5), name
    for one, two in zip(resumed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    config = YAML(typ="safe").load((folder / "config.yaml").read_text())["train"]
    assert (config["loss"]["class_name"], config["loss"]["config"]["factor"]) == ("Scaled", 3.0)
    assert config["metrics"][0]["config"]["k"] == 2
    assert config["metrics"][1] == f"{__name__}.margin"
    assert fit(data, run_dir=folder, **given)[1] == found  # complete: nothing is trained
    with pytest.raises(ValueError, match="holds another training: train.loss.config.factor: 3.0 there, 2.0 now"):
        fit(data, run_dir=folder, **given | {"loss": Scaled(2.0)})


def test_a_recipe_with_names_is_written_as_it_is():
    recipe = Recipe(loss="poisson", metrics=["margin"])
    assert settings_of(recipe)["loss"] == "poisson"
    assert settings_of(recipe)["metrics"] == ["margin"]
    assert settings_of(Recipe())["loss"] is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss": "sparse_categorical_crosentropy"}, "unknown loss .*; did you mean sparse_categorical_crossentropy"),
        ({"loss": "__doc__"}, "unknown loss '__doc__'; did you mean"),
        ({"loss": "serialize"}, "unknown loss 'serialize'; did you mean"),
        ({"loss": 5}, "loss must be a loss of Keras, a function or a name, got 5"),
        ({"loss": {"class_name": "Nope", "config": {}}}, "loss must be a loss of Keras, a function or a name, got {"),
        ({"loss": {"class_name": "Dice", "config": {"a": 1}}}, "loss must be a loss of Keras, a function or a name"),
        (
            {"loss": "categorical_crossentropy"},
            "loss categorical_crossentropy takes probabilities, but networks return",
        ),
        ({"loss": keras.losses.CategoricalCrossentropy()}, "CategoricalCrossentropy takes probabilities, but networks"),
        ({"loss": crossentropy, "focal_gamma": 2.0}, "focal_gamma are options of the task's own loss; leave out loss="),
        ({"metrics": ["hinje"]}, "unknown metric 'hinje'; did you mean hinge"),
        ({"metrics": [None]}, "metric must be a metric of Keras, a function or a name, got None"),
        ({"metrics": [keras.metrics.AUC()]}, "AUC takes probabilities, but networks return logits; give an object of"),
        ({"metrics": ["accuracy"]}, "two metrics are called 'accuracy'; classification has loss, accuracy, crossent"),
        ({"metrics": [margin, margin]}, "two metrics are called 'margin'"),
        ({"metrics": [Forgetful(1)]}, r"get_config\(\) of metric 'forgetful' must have what its class takes"),
        ({"metrics": "accuracy"}, "metrics must be a sequence of values, got 'accuracy'"),
        ({"metrics": margin}, "metrics must be a sequence of values, got <function"),
    ],
)
def test_what_cannot_be_a_loss_or_a_metric(data, options, message):
    with pytest.raises(ValueError, match=message):
        fit(data, **options)


def test_a_class_stands_for_its_object(data):
    assert isinstance(loss_of(data, Recipe(loss=keras.losses.LogCosh)), keras.losses.LogCosh)
    (*_, found) = metrics_of(data, Recipe(metrics=[keras.metrics.SparseCategoricalAccuracy]))
    assert isinstance(found, keras.metrics.SparseCategoricalAccuracy)
