"""Optimizers and learning rates: each against its formula or a case worked out by hand."""

import math

import keras
import numpy as np
import pytest
from networks import sampled

import kzoo
from kzoo.tasks.losses import ClassificationLoss
from kzoo.tasks.metrics import ClassificationAccuracy
from kzoo.training.optimizers import OPTIMIZERS, SCHEDULES, build_optimizer, learning_rate_schedule, plateau_factor
from kzoo.training.recipes import Recipe
from kzoo.training.schedules import Plateau

RATE = 0.1


@pytest.fixture
def model():
    """A network of a few weights of every kind: kernels, depthwise kernels, a layer scale, norms, biases."""
    keras.utils.set_random_seed(0)
    return kzoo.create_model("convnext_tiny", (32, 32, 3), 5, width=4, depths=(1, 1, 1, 1))


def dense(*shape):
    """Return a linear network with a given number of inputs and outputs."""
    keras.utils.set_random_seed(0)
    x = keras.Input(shape[:1])
    return keras.Model(x, keras.layers.Dense(shape[1])(x))


def values(variables):
    return {v.path: keras.ops.convert_to_numpy(v) for v in variables}


def build_plain_sgd(recipe, rate):
    """Return the optimizer of a recipe, but SGD without momentum, whose steps are easily worked out by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIMIZERS, recipe.optimizer, lambda model, **arguments: keras.optimizers.SGD(**arguments))
        return build_optimizer(None, recipe, rate)


def step(optimizer, model, gradients=None):
    """Take one step with gradients of 0, or with these."""
    variables = model.trainable_variables
    optimizer.apply(gradients or [np.zeros(v.shape, "float32") for v in variables], variables)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("cosine", {55: 0.5, 77.5: (1 - math.sqrt(0.5)) / 2, 100: 0.0, 200: 0.0}),
        ("step", {54: 1.0, 55: 0.1, 77: 0.1, 78: 0.01, 100: 0.01}),
        ("one_cycle", {10 + 90 * 9 / 22: 0.55, 10 + 90 * 9 / 11: 0.1, 100: 1e-3, 200: 1e-3}),
        ("constant", {55: 1.0, 100: 1.0}),
        ("plateau", {55: 1.0, 100: 1.0}),
    ],
)
def test_a_schedule_warms_up_and_comes_down(name, expected):
    rate = learning_rate_schedule(name, 2.0, steps=100, warmup_steps=10)
    for place, share in ({0: 0.0, 5: 0.5, 10: 1.0} | expected).items():
        assert float(rate(place)) == pytest.approx(2 * share, abs=1e-6), place


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_without_warmup_begins_at_its_peak(name):
    begin = 45 if name == "one_cycle" else 0  # which always has a rise
    assert float(learning_rate_schedule(name, 1.0, 100, 0)(begin)) == pytest.approx(1.0)
    assert float(learning_rate_schedule(name, 1.0, 1, 0)(0)) == pytest.approx(1.0)


def test_one_cycle_rises_as_long_as_it_falls():
    rate = learning_rate_schedule("one_cycle", 1.0, 100, 0)
    assert [float(rate(s)) for s in (0, 45, 90, 100)] == pytest.approx([0, 1, 0.1, 1e-3], abs=1e-6)


def test_the_cosine_is_that_of_keras():
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 90, warmup_target=1.0, warmup_steps=10)
    ours = learning_rate_schedule("cosine", 1.0, 100, 10)
    np.testing.assert_allclose([ours(s) for s in range(110)], [theirs(s) for s in range(110)], atol=1e-6)


def test_a_schedule_is_saved_with_its_optimizer():
    optimizer = keras.optimizers.SGD(learning_rate_schedule("step", 1.0, 100, 10))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again._learning_rate.get_config() == {"name": "step", "peak": 1.0, "steps": 100, "warmup_steps": 10}


@pytest.mark.parametrize(
    "losses, expected",
    [
        ([], 1.0),
        ([3, 2, 1], 1.0),
        ([3, 2, 2], 1.0),
        ([3, 2, 2, 2], 0.5),  # two epochs without a lower one
        ([3, 2, 2, 2, 2], 0.5),
        ([3, 2, 2, 2, 2, 2], 0.25),
        ([3, 2, 2, 1, 1, 1], 0.5),
        ([3, math.nan, math.nan], 0.5),
    ],
)
def test_the_rate_on_a_plateau(losses, expected):
    assert plateau_factor({"val_loss": losses}, patience=2, factor=0.5) == expected


def test_epochs_of_the_warmup_are_not_counted():
    history = {"val_loss": [1.0, 2.0, 2.0, 2.0]}
    assert plateau_factor(history, patience=2, factor=0.5) == 0.5
    assert plateau_factor(history, patience=2, factor=0.5, warmup_epochs=3) == 1.0


def test_plateau_sets_the_rate_of_each_step():
    """Ten steps an epoch, 15 of warm-up; the loss no longer falls after the third epoch."""
    losses = [3.0, 2.0, 1.0, 1.0, 1.0]
    model, seen = dense(1, 1), []
    rate = learning_rate_schedule("plateau", 1e-3, steps=60, warmup_steps=15)
    model.compile(build_optimizer(model, Recipe(optimizer="sgd"), rate), "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    epochs = iter(range(6))
    plateau = Plateau(lambda: {"val_loss": losses[: next(epochs)]}, warmup_epochs=2, patience=2)
    model.fit(np.zeros((10, 1)), np.zeros((10, 1)), batch_size=1, epochs=6, verbose=0, callbacks=[plateau, Look()])
    expected = [1e-3 * s / 15 for s in range(15)] + [1e-3] * 35 + [1e-4] * 10
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_weight_decay_is_the_rate_times_the_weight_and_leaves_vectors_alone(name, model):
    optimizer = build_optimizer(model, Recipe(optimizer=name, weight_decay=0.5), RATE)
    before = values(model.trainable_variables)
    step(optimizer, model)
    kinds = {path.rpartition(".")[2] for path in before}
    assert {"conv1/kernel", "dwconv1/kernel", "norm1/gamma", "conv1/bias", "scale1/kernel"} <= kinds
    for path, value in values(model.trainable_variables).items():
        is_matrix = path.endswith("kernel") and "scale" not in path  # a layer scale is one number per channel
        factor = 1 - RATE * 0.5 if is_matrix else 1.0
        np.testing.assert_allclose(value, factor * before[path], rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("name", sampled([(name,) for name in sorted(OPTIMIZERS)], ("adamw", "muon")))
def test_every_optimizer_learns(name, digits):
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(16,), padding="same")
    rate = learning_rate_schedule("one_cycle", {"lion": 3e-3}.get(name, 2e-2), 3 * digits.steps_per_epoch, 0)
    optimizer = build_optimizer(model, Recipe(optimizer=name, weight_decay=0.01, global_clipnorm=10.0), rate)
    model.compile(optimizer, ClassificationLoss(), metrics=[ClassificationAccuracy()], jit_compile=False)
    model.fit(digits.train_batches(), steps_per_epoch=digits.steps_per_epoch, epochs=3, shuffle=False, verbose=0)
    assert model.evaluate(digits.validation, verbose=0, return_dict=True)["accuracy"] > 0.8


def test_sgd_has_nesterovs_momentum():
    model = dense(1, 1)
    kernel, gradient = model.trainable_variables[0], np.array([[2.0]])
    optimizer, start = build_optimizer(model, Recipe(optimizer="sgd"), RATE), float(kernel[0, 0])
    for _ in range(2):
        step(optimizer, model, [gradient, np.zeros(1)])
    velocity_1 = -RATE * 2
    velocity_2 = 0.9 * velocity_1 - RATE * 2
    moved = (0.9 * velocity_1 - RATE * 2) + (0.9 * velocity_2 - RATE * 2)
    assert float(kernel[0, 0]) == pytest.approx(start + moved, rel=1e-5)


@pytest.mark.parametrize("length, scale", [(1.0, 0.2), (5.0, 1.0), (10.0, 1.0)])
def test_gradients_are_clipped_by_their_length_together(length, scale):
    model = dense(1, 1)
    optimizer = build_plain_sgd(Recipe(global_clipnorm=length), 1.0)
    before = values(model.trainable_variables)
    step(optimizer, model, [np.array([[3.0]]), np.array([4.0])])  # of length 5
    for (path, value), gradient in zip(values(model.trainable_variables).items(), (3, 4), strict=True):
        np.testing.assert_allclose(before[path] - value, scale * gradient, rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_two_batches_of_16_accumulated_are_one_of_32(name, digits):
    """A network without batch normalisation and dropout; losses are means, so their mean is that of all 32."""
    inputs, labels = next(digits.train_batches().as_numpy_iterator())
    weights = []
    for gradient_accumulation_steps, size in ((1, 32), (2, 16)):
        keras.utils.set_random_seed(0)
        model = kzoo.create_model("convnet", digits.input_shape, 10, filters=(8,), padding="same", dropout=0.0)
        optimizer = build_optimizer(
            model,
            Recipe(
                optimizer=name,
                weight_decay=0.1,
                global_clipnorm=1.0,
                gradient_accumulation_steps=gradient_accumulation_steps,
            ),
            1e-2,
        )
        model.compile(optimizer, ClassificationLoss(), jit_compile=False)
        model.fit(inputs, labels, batch_size=size, epochs=3, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        assert int(optimizer.variables[0]) == 3 * gradient_accumulation_steps
        assert int(optimizer.iterations) == 3
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("gradient_accumulation_steps", [1, 3])
def test_the_moving_average_is_one_per_step(gradient_accumulation_steps):
    model = dense(1, 1)
    optimizer = build_plain_sgd(Recipe(ema_momentum=0.9, gradient_accumulation_steps=gradient_accumulation_steps), RATE)
    expected = weight = float(model.trainable_variables[0][0, 0])
    for number in range(5 * gradient_accumulation_steps):
        gradient = float(number // gradient_accumulation_steps)
        step(optimizer, model, [np.array([[gradient]]), np.zeros(1)])
        if (number + 1) % gradient_accumulation_steps == 0:
            weight -= RATE * gradient
            expected = 0.9 * expected + 0.1 * weight if gradient else weight  # begins with the first step's weights
    for _ in range(gradient_accumulation_steps - 1):  # Keras goes on averaging until the next step
        step(optimizer, model, [np.zeros((1, 1)), np.zeros(1)])
    assert float(model.trainable_variables[0][0, 0]) == pytest.approx(weight, rel=1e-5)
    optimizer.finalize_variable_values(model.trainable_variables)
    assert float(model.trainable_variables[0][0, 0]) == pytest.approx(expected, rel=1e-5)


class TestMuon:
    """Which weights are stepped how."""

    def test_hidden_kernels_only(self, model):
        optimizer = build_optimizer(model, Recipe(optimizer="muon"), RATE)
        chosen = {v.path for v in model.trainable_variables if not optimizer._should_use_adamw(v)}
        layers = {layer.name for layer in model.layers if f"{layer.name}/kernel" in chosen}
        assert len(layers) == len(chosen)
        assert "logits" not in layers
        assert not [name for name in layers if "dwconv" in name]
        assert {"stem.conv1"} < layers
        assert len(layers) == 1 + 3 + 2 * 4  # stem, three times downwards, two in each of four blocks

    def test_an_embedding_is_not_a_hidden_matrix(self):
        model = kzoo.create_model("textcnn", (20,), 3, vocab_size=50, embed_dim=8, filters=4)
        optimizer = build_optimizer(model, Recipe(optimizer="muon"), RATE)
        (table,) = [v for v in model.trainable_variables if v.shape == (50, 8)]
        assert optimizer._should_use_adamw(table)
        assert not all(optimizer._should_use_adamw(v) for v in model.trainable_variables)

    @pytest.mark.parametrize("shape", [(3, 3, 8, 4), (3, 3, 2, 32), (5, 8, 16), (12, 6)])
    def test_a_step_is_about_orthogonal(self, shape):
        """Newton and Schulz's five iterations bring singular values to 0.7 to 1.2 (Jordan, 2024)."""
        kernel, *_ = weights = [keras.Variable(np.zeros(shape), name="kernel")]
        from kzoo.training.muon import ConvMuon

        optimizer = ConvMuon(learning_rate=1.0)
        gradient = np.random.default_rng(0).normal(size=shape).astype("float32")
        optimizer.apply([gradient], weights)
        matrix = keras.ops.convert_to_numpy(kernel).reshape(-1, shape[-1])
        values = np.linalg.svd(matrix / (0.2 * math.sqrt(max(matrix.shape))), compute_uv=False)
        assert values.min() > 0.5
        assert values.max() < 1.3
        assert (matrix * gradient.reshape(matrix.shape)).sum() < 0  # downhill

    def test_it_is_saved(self, model):
        optimizer = build_optimizer(model, Recipe(optimizer="muon", weight_decay=0.1), RATE)
        again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert again.exclude_layers == optimizer.exclude_layers
        assert again.adam_weight_decay == again.weight_decay == 0.1


def test_an_unknown_optimizer():
    with pytest.raises(ValueError, match="unknown optimizer 'adamv'; did you mean adam"):
        build_optimizer(dense(1, 1), Recipe(optimizer="adamv"), 0.1)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_saved_optimizer_still_leaves_vectors_alone(name, model):
    """Keras saves no exclusions from weight decay."""
    optimizer = build_optimizer(model, Recipe(optimizer=name, weight_decay=0.5), RATE)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    again.build(model.trainable_variables)
    vectors = [v for v in model.trainable_variables if v.path.endswith("bias")]
    before = values(vectors)
    step(again, model)
    for path, value in values(vectors).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize("options, message", [({"patience": 0}, "patience must be"), ({"factor": 1.0}, "factor must")])
def test_mistakes_about_plateaus_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        Plateau(dict, **options)


def test_an_unknown_schedule():
    with pytest.raises(ValueError, match="unknown schedule 'cosin'; did you mean cosine"):
        learning_rate_schedule("cosin", 1.0, 10, 0)
