"""Weights of examples: where they come from, that nothing loses them on the way, and that the loss alone uses them."""

import dataclasses
import re

import keras
import numpy as np
import pandas
import pytest

import kzoo
from kzoo.data.splits import Shard
from kzoo.training.identity import data_identity

COUNT = 60
LABELS = np.arange(COUNT) % 2
WEIGHTS = np.arange(COUNT) / 10
IMAGES = np.broadcast_to(np.arange(COUNT, dtype="uint8")[:, None, None, None], (COUNT, 4, 4, 1)).copy()
SERIES = np.broadcast_to(np.arange(COUNT, dtype="float32")[:, None, None], (COUNT, 4, 1)).copy()


def images(**options):
    return kzoo.from_arrays(IMAGES, LABELS, weights=WEIGHTS, validation=0.2, batch_size=8, **options)


def numbers(data, batches, *, of=WEIGHTS) -> None:
    """Check that each example of some batches has its own weight; its number is in its pixels."""
    for inputs, _, weights in batches.as_numpy_iterator():
        raw = inputs[:, 0, 0] * data.preprocess.std[0] + data.preprocess.mean[0]
        which = np.round(raw.reshape(len(raw), -1)[:, 0]).astype(int)
        np.testing.assert_allclose(weights, of[which], rtol=1e-6)


class TestSources:
    def rows(self):
        return {"text": [f"word{n} again" for n in range(COUNT)], "label": LABELS, "trust": WEIGHTS}

    def test_a_column_of_a_table_is_no_input(self, tmp_path):
        pandas.DataFrame(self.rows()).to_csv(tmp_path / "a.csv", index=False)
        data = kzoo.load_dataset(f"table:{tmp_path / 'a.csv'}", target="label", weight="trust", validation=0.2)
        for part in data.examples.values():
            number = np.array([int(text.split()[0][4:]) for text in part.inputs])
            np.testing.assert_allclose(part.weights, WEIGHTS[number], rtol=1e-6)

    def test_a_data_frame(self):
        data = kzoo.from_frame(self.rows(), target="label", weight="trust", limit=20)
        assert len(data.examples["train"].weights) == 20

    def test_an_npz_file(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, sample_weight=WEIGHTS)
        data = kzoo.load_dataset(f"npz:{tmp_path / 'a.npz'}", validation=0.2)
        part = data.examples["train"]
        np.testing.assert_allclose(part.weights, WEIGHTS[part.inputs[:, 0, 0, 0]], rtol=1e-6)

    @pytest.mark.parametrize(
        "cell, message",
        [
            (-1, "line 4 of a.csv has the weight -1; expected a number from 0"),
            ("much", "a.csv has 'much' in line 4, column trust; expected a number"),
            ("", "a.csv has no trust in line 4"),
            ("nan", "a.csv has 'nan' in line 4, column trust; expected a number"),
            ("1e300", "a.csv has '1e300' in line 4, column trust; expected a number"),
        ],
    )
    def test_what_is_wrong_in_a_table(self, tmp_path, cell, message):
        rows = self.rows() | {"trust": [1, 1, cell, *[1] * (COUNT - 3)]}
        pandas.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(ValueError, match=re.escape(message)):
            kzoo.load_dataset(f"table:{tmp_path / 'a.csv'}", target="label", weight="trust")

    @pytest.mark.parametrize(
        "weights, message",
        [
            (np.ones(5), f"weights has shape (5,); expected one for each of the {COUNT} training examples"),
            (["a"] * COUNT, "weights has 'a'; expected numbers from 0"),
            ([None] * COUNT, "weights has None; expected numbers from 0"),
            (np.full(COUNT, np.nan), "training example 0 has the weight nan; expected a number from 0"),
            (np.zeros(COUNT), "training examples have the weight 0; expected some above 0"),
        ],
    )
    def test_what_is_wrong_in_arrays(self, weights, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            kzoo.from_arrays(IMAGES, LABELS, weights=weights)

    def test_an_unknown_column(self):
        with pytest.raises(ValueError, match="unknown column of frame, 'trusts'; did you mean trust"):
            kzoo.from_frame(self.rows(), target="label", weight="trusts")


class TestTheWay:
    @pytest.mark.parametrize("how", [{}, {"fold": (1, 4)}, {"limit": 20}, {"groups": np.arange(COUNT) // 4}])
    @pytest.mark.filterwarnings("ignore:each of the")
    def test_splits_and_batches(self, how):
        data = images(**how)
        numbers(data, data.train)
        assert all(len(batch) == 2 for batch in data.validation.as_numpy_iterator())

    @pytest.mark.parametrize("augment", [None, {"flip": True}])
    def test_each_process_has_those_of_its_rows(self, augment):
        whole = images(augment=augment)
        parts = [dataclasses.replace(whole, shard=Shard(index, 2, 2)).train_batches(5).take(3) for index in range(2)]
        for part in parts:
            numbers(whole, part)
        pairs = zip(*(part.as_numpy_iterator() for part in parts), strict=True)
        for (_, _, expected), (one, two) in zip(whole.train_batches(5).take(3).as_numpy_iterator(), pairs, strict=True):
            np.testing.assert_array_equal(np.concatenate([one[2], two[2]]), expected)

    def test_batches_without_tensorflow(self):
        data = images()
        for step, expected in enumerate(data.train_batches().take(3).as_numpy_iterator()):
            for one, other in zip(data.training_batch(step), expected, strict=True):
                np.testing.assert_array_equal(one, other)

    def test_mixed_examples_have_mixed_weights(self):
        data = images(augment={"mixup": 1.0})
        numbers_mixed = 0
        for inputs, _, weights in data.train.as_numpy_iterator():
            mean = (inputs[:, 0, 0, 0] * data.preprocess.std[0] + data.preprocess.mean[0]) / 10  # of WEIGHTS
            np.testing.assert_allclose(weights, mean, atol=1e-4)
            numbers_mixed += (np.abs(mean * 10 - np.round(mean * 10)) > 1e-3).sum()
        assert numbers_mixed > 10

    def test_another_weight_is_another_training(self):
        same, other = (kzoo.from_arrays(IMAGES, LABELS, weights=WEIGHTS + shift, validation=0.2) for shift in (0, 1))
        assert data_identity(images())["content"] == data_identity(same)["content"] != data_identity(other)["content"]
        assert "weights" not in data_identity(kzoo.from_arrays(IMAGES, LABELS, validation=0.2))["content"]["train"]


TASKS = {
    None: LABELS,
    "tagging": np.stack([LABELS, 1 - LABELS], axis=1),
    "regression": LABELS * 3.0,
    "step_tagging": np.repeat(np.stack([LABELS, 1 - LABELS], axis=1)[:, None], 4, axis=1),
    "step_classification": np.repeat(LABELS[:, None], 4, axis=1),
}


def linear(data) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.input_shape)
    return keras.Model(
        inputs,
        keras.layers.Dense(data.num_outputs)(
            inputs if data.task.head == "positions" else keras.layers.Flatten()(inputs)
        ),
    )


class TestLoss:
    @pytest.mark.parametrize("task", TASKS)
    def test_it_is_that_of_each_example_times_its_weight(self, task):
        data = kzoo.from_arrays(SERIES, TASKS[task], task=task, weights=WEIGHTS, batch_size=COUNT)
        (_, targets, weights), *_ = data.train_batches().take(1).as_numpy_iterator()
        shape = (
            (len(targets), 4, data.num_outputs) if data.task.head == "positions" else (len(targets), data.num_outputs)
        )
        outputs, loss = np.random.default_rng(0).normal(size=shape), data.task.loss(TASKS[task])
        each = [float(loss(targets[n : n + 1], outputs[n : n + 1])) for n in range(len(targets))]
        assert float(loss(targets, outputs, sample_weight=weights)) == pytest.approx(np.mean(each * weights), rel=1e-4)

    def test_metrics_and_validation_do_not_see_them(self):
        found = []
        for weights in (None, np.full(COUNT, 2.0)):
            data = kzoo.from_arrays(SERIES, LABELS, weights=weights, validation=(SERIES, LABELS), batch_size=COUNT)
            found.append(kzoo.fit(linear(data), data, epochs=1, learning_rate=1e-9, verbose=False))
        plain, twice = found
        assert twice["loss"][0] == pytest.approx(2 * plain["loss"][0], rel=1e-4)
        for name in ("val_loss", "accuracy", "crossentropy"):
            assert twice[name][0] == pytest.approx(plain[name][0], rel=1e-4)

    def test_examples_of_no_weight_teach_nothing(self):
        wrong = np.where(np.arange(COUNT) % 3, LABELS, 1 - LABELS)
        x = (LABELS[:, None, None] + np.zeros((1, 4, 1))).astype("float32")
        data = kzoo.from_arrays(x, wrong, weights=np.arange(COUNT) % 3 > 0, validation=(x, LABELS), test=(x, LABELS))
        model = linear(data)
        kzoo.fit(model, data, epochs=20, learning_rate=0.3, verbose=False)
        assert kzoo.evaluate(model, data).loss < 0.1  # a third of the labels are wrong: 0.64 at best without weights

    def test_a_finder_and_a_moving_average_take_them(self):
        data = images()
        model = linear(data)
        assert kzoo.find_learning_rate(model, data, steps=5).losses
        kzoo.fit(model, data, epochs=2, ema_momentum=0.9, swa_epochs=1, verbose=False)

    @pytest.mark.parametrize("name, options", [("mlp", {"solver": "ridge"}), ("nearest_neighbour", {})])
    def test_a_solver_has_no_loss(self, name, options):
        data = kzoo.from_arrays(SERIES, LABELS, weights=WEIGHTS)
        model = kzoo.create_model(name, data.input_shape, data.num_classes)
        with pytest.raises(ValueError, match="arrays has weights of examples, which only a training loss uses, not"):
            kzoo.fit(model, data, verbose=False, **options)

    def test_another_loss_of_several_targets_an_example(self):
        labels = TASKS["step_classification"]
        data = kzoo.from_arrays(SERIES, labels, task="step_classification", weights=WEIGHTS)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        with pytest.raises(ValueError, match="weights of examples need a loss of the task step_classification"):
            kzoo.fit(linear(data), data, loss=loss, verbose=False)
