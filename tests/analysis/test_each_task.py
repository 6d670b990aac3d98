"""Analysis of taggers and of networks of numbers whose answers are known: maps, embeddings, shifts, ensembles."""

import dataclasses
import io

import keras
import numpy as np
import pytest
from rich.console import Console

import kzoo
from kzoo.analysis import classical
from kzoo.analysis.shift import shift_test
from kzoo.analysis.visualize import draw_embedding, draw_grad_cam, draw_occlusion, grad_cam, occlusion
from kzoo.data.image.preprocess import ImagePreprocess
from kzoo.data.serving import Serving
from kzoo.data.splits import Examples, Splits
from kzoo.data.trained import remember
from kzoo.nn.handcrafted import NearestNeighbours
from kzoo.tasks import Classification, Regression, Segmentation, Tagging
from kzoo.tasks.steps import StepClassification
from kzoo.tasks.task import Task, check_exclusive, check_pooled

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1)).astype("uint8")
PIXELS[::2, :4], PIXELS[1::3, 4:] = 200, 190  # bright above, bright below
HALVES = np.stack([PIXELS[:, :4].mean((1, 2, 3)), PIXELS[:, 4:].mean((1, 2, 3))], axis=1) / 255
TAGS = (HALVES > 0.6).astype("float32")


def splits(task: Task, targets: np.ndarray) -> Splits:
    """Return images whose three splits are the same examples."""
    examples = dict.fromkeys(("train", "validation", "test"), Examples(PIXELS, targets))
    step = ImagePreprocess((8, 8), 1, (0.0,), (255.0,))
    return Splits("halves", "image", examples, task.fitted(targets), step, batch_size=4)


def linear(data: Splits, weights, bias) -> keras.Model:
    """Return a network of the mean brightness above and below, that remembers the data."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="conv")(inputs)
    x = keras.layers.Identity(name="stage1")(x)
    x = keras.layers.AveragePooling2D((4, 8))(x)
    outputs = keras.layers.Dense(data.num_outputs, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs, name="linear")
    model.get_layer("logits").set_weights([np.asarray(weights, "float32"), np.asarray(bias, "float32")])
    remember(model, data)
    return model


@pytest.fixture(scope="module")
def tags() -> tuple[keras.Model, Splits]:
    data = splits(Tagging(("above", "below")), TAGS)
    return linear(data, 50 * np.eye(2), [-30, -30]), data


@pytest.fixture(scope="module")
def numbers() -> tuple[keras.Model, Splits]:
    """The sum of the brightness above and twice that below, in percent."""
    targets = 100 * (HALVES @ [[1.0], [2.0]])
    data = splits(Regression(("light",)), targets)
    (mean,), (deviation,) = data.task.mean, data.task.deviation
    return linear(data, np.array([[100.0], [200.0]]) / deviation, [-mean / deviation]), data


@pytest.fixture(scope="module")
def steps() -> Task:
    """A task with an answer at each position."""

    class Steps(Classification):
        key = "made-up"
        output_axes = ("batch", "length", "num_classes")

    return Steps(("above", "below"))


def printed(shown) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(shown)
    return console.file.getvalue()


# -- attribution


@pytest.mark.parametrize("output, rows", [("above", np.s_[:4]), (1, np.s_[4:])])
def test_a_tag_is_explained_by_where_it_is(tags, output, rows):
    model, _ = tags
    x = np.full((8, 8, 1), 0.61, "float32")
    drop = occlusion(model, x, output, value=0.0)
    assert (drop[rows] > 0.2).all()
    assert drop.sum() == pytest.approx(drop[rows].sum())
    assert grad_cam(model, x, output).shape == (8, 8)


def test_the_most_probable_tag_is_explained_unless_another_is_asked_for(tags):
    model, _ = tags
    x = np.full((8, 8, 1), 0.61, "float32")
    x[:4] = 0.5
    np.testing.assert_array_equal(occlusion(model, x), occlusion(model, x, "below"))


def test_a_number_drops_by_what_is_hidden(numbers):
    model, data = numbers
    x = data.preprocess(PIXELS[:1])[0]
    whole = occlusion(model, x, window=8, value=0.0)
    np.testing.assert_allclose(whole, 100 * (HALVES[0] @ [1.0, 2.0]), rtol=1e-4)
    np.testing.assert_array_equal(occlusion(model, x, "light"), occlusion(model, x))


def test_a_network_that_remembers_nothing_is_told_the_task(numbers):
    model, data = numbers
    stranger = keras.Model(model.input, model.output, name="stranger")
    x = data.preprocess(PIXELS[:1])[0]
    np.testing.assert_array_equal(occlusion(stranger, x, task=data.task), occlusion(model, x))
    assert "predicted" in draw_occlusion(stranger, data, window=4).axes[0].get_title()


def test_an_unknown_output_is_answered_with_the_nearest(tags, numbers):
    with pytest.raises(ValueError, match="unknown output of linear 'abov'; did you mean above?"):
        grad_cam(tags[0], np.zeros((8, 8, 1), "float32"), "abov")
    with pytest.raises(ValueError, match="linear has numbers 0 to 0, got 1"):
        occlusion(numbers[0], np.zeros((8, 8, 1), "float32"), 1)


def test_pictures_of_tags_name_them(tags):
    model, data = tags
    figure = draw_grad_cam(model, data)
    assert figure.get_suptitle() == "Grad-CAM for the most probable tag, at stage1 of linear"
    titles = [axes.get_title() for axes in figure.axes]
    assert any(title.startswith("true above, below, above (") for title in titles) or "true above" in titles[0]
    assert draw_occlusion(model, Serving.of(data), output="below").get_suptitle() == (
        "occlusion: drop of the probability of the tag 'below', by linear"
    )


def test_pictures_of_numbers_give_them_in_their_unit(numbers):
    model, data = numbers
    light = 100 * (HALVES[0] @ [1.0, 2.0])
    figure = draw_occlusion(model, data, window=8, value=0.0)
    assert figure.get_suptitle() == "occlusion: drop of the value of 'light', by linear"
    true, predicted = figure.axes[0].get_title().split("\n")[0].split(", ")
    assert float(true.removeprefix("true ")) == pytest.approx(light, rel=1e-3)
    assert float(predicted.removeprefix("predicted ")) == pytest.approx(light, rel=1e-3)


def test_an_embedding_is_coloured_by_tag_or_by_value(tags, numbers):
    figure = draw_embedding(*tags)
    assert figure.axes[0].get_title().endswith("12 examples, coloured by true tags")
    assert {"above", "below"} >= set(figure.axes[0].get_legend_handles_labels()[1])
    figure = draw_embedding(*numbers)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array(), 100 * (HALVES @ [1.0, 2.0]))
    assert figure.axes[1].get_ylabel() == "'light'"


def test_a_task_with_an_answer_at_each_position_is_refused(tags, steps):
    model, data = tags
    model = keras.Model(model.input, model.output, name="linear")
    for draw in (draw_grad_cam, draw_occlusion, draw_embedding, shift_test):
        with pytest.raises(ValueError, match=r"is for networks with one vector of outputs an example; made-up has"):
            draw(model, dataclasses.replace(data, task=steps))


# -- shift


def test_tags_are_consistent_if_none_is_gained_or_lost(tags):
    model, data = tags
    report = shift_test(model, data, max_shift=1, verbose=False)
    assert report.score == pytest.approx(kzoo.evaluate(model, data).average_precision)
    assert report.shifts[0, 0].consistency == 1
    down = np.pad(PIXELS, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :8] / 255
    answers = data.task.answers(model.predict(down.astype("float32"), verbose=0))
    same = ((answers >= 0.5) == TAGS).all(axis=1).mean()
    assert report.shifts[1, 0].consistency == same < 1
    assert report.to_dict()["shifts"][0].keys() == {"by", "consistency", "probability_change", "average_precision"}
    assert "average precision 100.00 %" in printed(report)
    assert report.figure().axes


def test_numbers_change_by_deviations_of_the_training_targets(numbers):
    model, data = numbers
    report = shift_test(model, data, max_shift=1, verbose=False)
    assert report.score == pytest.approx(0, abs=1e-3)
    assert report.shifts[0, 0] == (0.0, None, report.score)
    down = np.pad(PIXELS, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :8] / 255
    moved = np.stack([down[:, :4].mean((1, 2, 3)), down[:, 4:].mean((1, 2, 3))], axis=1)
    change = np.abs((moved - HALVES) @ [100.0, 200.0]).mean()
    assert report.shifts[1, 0].consistency == pytest.approx(change / data.task.deviation[0], rel=1e-3)
    assert report.shifts[1, 0].score == pytest.approx(change, rel=1e-3)
    assert report.to_dict()["shifts"][0].keys() == {"by", "change", "mae"}
    text = printed(report)
    assert "change, standard deviations" in text
    assert "probability" not in text
    assert report.figure().axes


def test_a_made_up_task_is_measured_by_its_report():
    @dataclasses.dataclass(frozen=True)
    class Ratio(Regression):
        key = "ratio"
        measured, agreement = Task.measured, Task.agreement

    task = Ratio(("a",)).fitted(np.arange(4.0)[:, None])
    answers = np.array([[0.0], [2.0], [4.0], [6.0]])
    assert task.measured(np.arange(4.0)[:, None], answers) == 1.5
    assert task.agreement(answers, answers + 1) == pytest.approx(1 / answers.std())


# -- ensembles, solvers, classical methods


def test_an_ensemble_of_taggers_averages_probabilities_and_thresholds(tags):
    _, data = tags
    others = [linear(data, weights * np.eye(2), [-1, -1]) for weights in (1, 3)]
    for other, limits in zip(others, ((0.2, 0.4), (0.4, 0.8)), strict=True):
        remember(other, dataclasses.replace(data, task=dataclasses.replace(data.task, thresholds=limits)))
    both = kzoo.ensemble(others)
    assert both.trained_with.task.thresholds == pytest.approx((0.3, 0.6))
    x = data.preprocess(PIXELS)
    mean = np.mean([data.task.answers(np.array(other(x))) for other in others], axis=0)
    np.testing.assert_allclose(data.task.answers(np.array(both(x))), mean, rtol=1e-5)


def test_an_ensemble_of_numbers_averages_them(numbers):
    model, data = numbers
    both = kzoo.ensemble([model, linear(data, [[0.0], [0.0]], [1.0])])
    assert both.trained_with.task == data.task
    x = data.preprocess(PIXELS)
    np.testing.assert_allclose(both(x), (np.array(model(x)) + 1) / 2, rtol=1e-5)


def test_networks_of_different_tasks_are_no_ensemble(numbers):
    model, data = numbers
    one = dataclasses.replace(data, task=Tagging(("light",)))
    with pytest.raises(ValueError, match="one task; these are for regression and tagging"):
        kzoo.ensemble([model, linear(one, [[0.0], [0.0]], [1.0])])
    scaled = dataclasses.replace(data, task=dataclasses.replace(data.task, deviation=(1.0,)))
    with pytest.raises(ValueError, match="these are for different numbers, or their order or scale"):
        kzoo.ensemble([model, linear(scaled, [[0.0], [0.0]], [1.0])])


def test_solvers_and_nearest_neighbours_need_classes(tags, numbers):
    with pytest.raises(ValueError, match="solver 'ridge' is for one class an example, not for tagging"):
        kzoo.fit(*tags, solver="ridge")
    with pytest.raises(ValueError, match="a solver is for one class an example, not for step_classification"):
        check_exclusive(StepClassification(("above", "below")), "a solver")
    with pytest.raises(ValueError, match="a solver is for one class an example, not for segmentation"):
        check_exclusive(Segmentation(("above", "below")), "a solver")
    with pytest.raises(ValueError, match=r"segmentation has outputs of shape \(batch, height, width, num_classes\)"):
        check_pooled(Segmentation(("above", "below")), "a shift test")
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, NearestNeighbours(1)(keras.layers.Flatten()(inputs)), name="nearest")
    with pytest.raises(ValueError, match="nearest is for one class an example, not for regression"):
        kzoo.fit(model, numbers[1], verbose=False)


def test_outputs_after_a_sigmoid_are_refused(tags):
    model, data = tags
    ended = keras.Model(model.input, keras.layers.Activation("sigmoid")(model.output), name="ended")
    with pytest.raises(ValueError, match="ended ends in a sigmoid .* but kzoo needs logits or values"):
        kzoo.evaluate(ended, data)


def test_classical_methods_need_classes(numbers, monkeypatch):
    monkeypatch.setattr(classical, "load_dataset", lambda *given, **options: numbers[1])
    with pytest.raises(ValueError, match="a comparison with classical methods is for one class an example, not for re"):
        kzoo.compare_classical("halves")


def test_the_comparison_with_classical_methods_is_a_table():
    row = {"kind": "classical", "model": "hog_svm", "test accuracy": 0.9, "95 % interval": (0.8, 0.95), "seconds": 2}
    assert "90.00 %" in printed(classical.ClassicalComparison("digits", 10, (row,)))
