"""Hand-crafted features, linear layers in closed form, and their comparison with learned features."""

import importlib.util
import io
import json
import re

import keras
import numpy as np
import pytest
from rich.console import Console
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

import kzoo
from kzoo.cli import app
from kzoo.nn import solvers
from kzoo.nn.handcrafted import HOG, NearestNeighbours, TfIdf, TimeStatistics

needs_series = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("sktime", "aeon"))), reason="needs the sets inside sktime or aeon"
)


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


class TestHOG:
    """Against numbers worked out by hand; tests/parity compares with scikit-image."""

    def test_a_ramp_has_one_orientation(self):
        rows, columns = np.mgrid[:12, :12].astype("float32")
        for image, place in ((columns, 0), (rows, 2), (columns + rows, 1), (columns - rows, 3)):
            blocks = array(HOG(cell=4, block=1, orientations=4)(image[None, :, :, None]))
            assert blocks.shape == (1, 3, 3, 4)
            np.testing.assert_allclose(blocks[0, 1, 1], np.eye(4)[place], atol=1e-6)

    def test_light_and_contrast_do_not_matter(self):
        image = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype("float32")
        np.testing.assert_allclose(HOG()(3 * image + 10), HOG()(image), atol=1e-4)

    def test_an_even_image_has_none(self):
        assert not array(HOG()(np.full((1, 16, 16, 3), 7.0))).any()

    def test_it_has_a_slope_everywhere(self):
        import tensorflow as tf

        x = tf.Variable(np.pad(np.ones((1, 6, 6, 1), "float32"), ((0, 0), (5, 5), (5, 5), (0, 0))))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(HOG()(x) ** 3)
        assert np.isfinite(tape.gradient(loss, x)).all()


class TestTfIdf:
    """Bags of words as scikit-learn's."""

    IDS = np.array([[2, 3, 3, 4, 0, 0], [2, 2, 5, 0, 0, 0], [5, 4, 2, 3, 3, 3], [2, 6, 0, 0, 0, 0], [0] * 6])

    def test_it_equals_scikit_learn(self):
        counts = np.stack([np.bincount(row, minlength=8) for row in self.IDS])
        counts[:, 0] = 0  # padding
        layer = TfIdf(vocab_size=8)
        layer.build(self.IDS.shape)
        layer.adapt(self.IDS[:4])
        theirs = TfidfTransformer().fit(counts[:4]).transform(counts).toarray()
        np.testing.assert_allclose(array(layer(self.IDS)), theirs, atol=1e-6)

    def test_a_feature_map_holds_counts(self):
        positions = np.eye(8, dtype="float32")[self.IDS] * (self.IDS != 0)[..., None]
        tokens, maps = TfIdf(vocab_size=8), TfIdf()
        for layer, x in ((tokens, self.IDS), (maps, positions)):
            layer.build(x.shape)
            layer.adapt(x)
        np.testing.assert_allclose(array(maps(positions)), array(tokens(self.IDS)), atol=1e-6)

    def test_the_network_takes_ids_as_they_are(self):
        model = kzoo.create_model("tfidf", (6,), 3, vocab_size=8)
        assert "embedding" not in [layer.name for layer in model.layers]
        assert model.count_params() == 8 + 8 * 3 + 3


def test_statistics_over_time():
    x = np.stack([np.arange(20.0) ** 2, np.full(20, 3.0)], axis=-1)[None].astype("float32")
    found = array(TimeStatistics()(x)).reshape(2, 4, 2)  # of values and slopes: mean, deviation, least, greatest
    values = x[0]
    np.testing.assert_allclose(
        found[0], [values.mean(0), values.std(0), values.min(0), values.max(0)], rtol=1e-5, atol=1e-5
    )
    assert found[1, 3, 0] == pytest.approx(2 * 17)  # the slope of t^2 within the ends
    np.testing.assert_allclose(found[1, :, 1], 0, atol=1e-5)


def test_statistics_are_brought_to_one_scale():
    x = np.random.default_rng(0).normal(5, [1, 100, 0], size=(50, 30, 3)).astype("float32")
    layer = TimeStatistics()
    layer.build(x.shape)
    layer.adapt(x)
    found = array(layer(x))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    deviations = found.std(0).reshape(2, 4, 3)
    np.testing.assert_allclose(deviations[..., :2], 1, atol=1e-3)


class TestNearestNeighbour:
    """The class of the nearest training series, as scikit-learn's."""

    @needs_series
    @pytest.mark.parametrize("name", ["ItalyPowerDemand", pytest.param("GunPoint", marks=pytest.mark.slow)])
    def test_it_equals_scikit_learn(self, name):
        splits = kzoo.load_dataset(name, validation=0)
        model = kzoo.models.nearest_neighbour(splits.input_shape, splits.num_classes)
        kzoo.fit(model, splits, verbose=False)
        (x, y), (tested, labels) = (solved_on(splits, split) for split in ("train", "test"))
        theirs = KNeighborsClassifier(1).fit(x.reshape(len(x), -1), y).predict(tested.reshape(len(tested), -1))
        np.testing.assert_array_equal(model.predict(tested, verbose=0).argmax(-1), theirs)
        report = kzoo.evaluate(model, splits)
        assert report.accuracy == pytest.approx((theirs == labels).mean())
        assert report.loss < 0.4  # distances are turned into probabilities

    def test_logits_are_the_distances(self):
        layer = NearestNeighbours(classes=3, room=5)
        layer.build((None, 2))
        layer.adapt(np.array([[0.0, 0], [3, 4], [6, 8], [9, 12]]), np.array([0, 1, 1, 0]))
        logits = array(layer(np.array([[0.0, 0], [6.0, 8]])))
        inverse_temperature = float(layer.inverse_temperature)
        assert inverse_temperature > 0
        np.testing.assert_allclose(logits[:, :2] / -inverse_temperature, [[0, 5], [5, 0]], atol=1e-4)
        assert (logits[:, 2] < -1e6).all()  # no example of this class

    def test_the_inverse_temperature_is_that_of_all_classes_though_files_are_sorted_by_class(self):
        rng = np.random.default_rng(0)
        labels = np.repeat([0, 1, 2], [700, 500, 500])  # 0 is far from 1, but 1 is near to 2
        inputs = (rng.normal(size=(1700, 2)) + np.array([0, 8, 9])[labels][:, None]).astype("float32")
        found = []
        for order in (np.arange(1700), rng.permutation(1700)):
            layer = NearestNeighbours(classes=3, room=1700)
            layer.build((None, 2))
            layer.adapt(inputs[order], labels[order])
            found.append(float(layer.inverse_temperature))
        assert found[0] == pytest.approx(found[1], rel=0.2)
        assert np.isfinite(found).all()

    def test_too_many_series_are_refused(self):
        layer = NearestNeighbours(classes=2, room=3)
        layer.build((None, 2))
        with pytest.raises(ValueError, match="4 training examples, but room for 3; build the model with room=4"):
            layer.adapt(np.zeros((4, 2)), np.zeros(4, int))


def solved_on(splits, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all inputs and labels of a split."""
    return tuple(np.concatenate(part) for part in zip(*splits.eval_batches(split).as_numpy_iterator(), strict=True))


class TestSolvers:
    """The last layer gets the weights of scikit-learn's classifier."""

    @pytest.mark.parametrize(
        "name, classifier",
        [
            ("svm", lambda cost: LinearSVC(C=cost, dual="auto", max_iter=10_000, random_state=0)),
            ("logistic", lambda cost: LogisticRegression(C=cost, max_iter=1000)),
        ],
    )
    def test_it_equals_the_classifier_of_scikit_learn(self, digits, name, classifier, capsys):
        model = kzoo.models.hog_svm(digits.input_shape, 10, cell=2)
        kzoo.fit(model, digits, solver=name)
        printed = capsys.readouterr().out
        assert f"solving the last layer ({name}): 1,293 examples of 324 features" in printed
        assert printed.count("left-out training examples") == len(solvers.COSTS)
        features = keras.Model(model.input, model.layers[-1].input)
        x, y = solved_on(digits, "train")
        x = features.predict(x, verbose=0)
        x, scale = x / np.sqrt(x.var(0).sum()), np.sqrt(x.var(0).sum())
        tested, labels = solved_on(digits, "test")
        ours = model.predict(tested, verbose=0).argmax(-1)
        cost = max(solvers.COSTS, key=lambda c: float(re.search(rf"  {c:.3g}: accuracy ([\d.]+) %", printed)[1]))
        theirs = classifier(cost).fit(x, y).predict(features.predict(tested, verbose=0) / scale)
        assert (ours == theirs).mean() > 0.99
        assert (ours == labels).mean() > 0.96
        assert kzoo.evaluate(model, digits).calibration_error < 0.03

    def test_sparse_features_give_the_same_weights(self):
        random = np.random.default_rng(0)
        x = random.poisson(0.03, size=(120, 60)).astype("float32")
        y = (x[:, :30].sum(1) > x[:, 30:].sum(1)).astype(int) + (x.sum(1) > 2)
        for name in ("ridge", "svm", "logistic"):
            weights = []
            for share in (0.0, 1.0):  # never sparse, always sparse
                model = linear(60, 3)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(solvers, "SPARSE", share)
                    solvers.solve_head(model, x, y, name)
                weights.append(model.get_weights())
            for dense, sparse in zip(*weights, strict=True):
                np.testing.assert_allclose(sparse, dense, rtol=0.02, atol=0.02 * np.abs(dense).max())

    @pytest.mark.parametrize("name", ["svm", "logistic"])
    def test_two_classes_get_opposite_scores(self, name):
        x = np.concatenate([np.zeros((20, 3)), np.ones((20, 3))]).astype("float32")
        y, model = np.repeat([0, 1], 20), linear(3, 2)
        solvers.solve_head(model, x, y, name)
        logits = model.predict(x, verbose=0)
        np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-4)
        assert (logits.argmax(-1) == y).all()

    def test_one_example_of_each_class_is_enough(self):
        x, model = np.eye(3, dtype="float32"), linear(3, 3)
        solvers.solve_head(model, x, np.arange(3), "svm")
        assert (model.predict(x, verbose=0).argmax(-1) == np.arange(3)).all()

    def test_mistakes_are_explained(self, digits):
        with pytest.raises(ValueError, match="training examples of every class; class 1 of 0 to 2 has none"):
            solvers.solve_head(linear(3, 3), np.ones((2, 3)), np.array([0, 2]), "svm")
        nearest = kzoo.models.nearest_neighbour((3, 1), 2)
        with pytest.raises(ValueError, match="'svm' needs a linear last layer; nearest_neighbour ends in logits"):
            solvers.solve_head(nearest, np.ones((2, 3, 1)), np.array([0, 1]), "svm")
        with pytest.raises(ValueError, match="unknown solver 'logistik'; did you mean logistic"):
            kzoo.fit(kzoo.models.mlp(digits.input_shape, 10), digits, solver="logistik")


def linear(features: int, classes: int) -> keras.Model:
    x = keras.Input((features,))
    return keras.Model(x, keras.layers.Dense(classes)(x))


@pytest.mark.parametrize(
    "name, solver, options",
    [
        ("hog_svm", "svm", {"cell": 2}),
        pytest.param("filter_bank", "logistic", {"pool": 2}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_images_are_fitted_saved_and_served(name, solver, options, digits, tmp_path):
    model = kzoo.create_model(name, digits.input_shape, 10, **options)
    kzoo.fit(model, digits, solver=solver, run_dir=tmp_path / "run", verbose=False)
    report = kzoo.evaluate(model, digits, run_dir=tmp_path / "run")
    assert report.accuracy > 0.96
    loaded, serving = kzoo.load_run(tmp_path / "run")
    assert kzoo.evaluate(loaded, digits).accuracy == report.accuracy
    kzoo.export(loaded, tmp_path / "saved", data=serving)  # compares in a new process


@pytest.mark.slow
@needs_series
def test_series_are_fitted_saved_and_served(tmp_path):
    splits = kzoo.load_dataset("ItalyPowerDemand", validation=0)
    model = kzoo.models.nearest_neighbour(splits.input_shape, splits.num_classes, room=67)
    kzoo.fit(model, splits, run_dir=tmp_path / "run", verbose=False)
    loaded, serving = kzoo.load_run(tmp_path / "run")
    assert kzoo.evaluate(loaded, splits).accuracy == kzoo.evaluate(model, splits).accuracy
    kzoo.export(loaded, tmp_path / "saved", data=serving)


@pytest.mark.slow
def test_texts_are_fitted_saved_and_served(tmp_path):
    lines = [f"{kind} {kind} word{n % 7} thing{n % 5}" for n in range(60) for kind in ("cat", "dog")]
    rows = "".join(f"{line},{line.split()[0]}\n" for line in lines)
    (tmp_path / "texts.csv").write_text("text,label\n" + rows)
    splits = kzoo.load_dataset(f"csv:{tmp_path / 'texts.csv'}", text_column="text", label_column="label")
    model = kzoo.models.tfidf(splits.input_shape, splits.num_classes, vocab_size=splits.vocab_size)
    kzoo.fit(model, splits, solver="logistic", run_dir=tmp_path / "run", verbose=False)
    assert kzoo.evaluate(model, splits).accuracy == 1
    loaded, serving = kzoo.load_run(tmp_path / "run")
    kzoo.export(loaded, tmp_path / "saved", data=serving)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: kzoo.models.hog_svm((11, 40, 1), 3),
            r"too small for hog_svm; the smallest that works is \(12, 12, 1\)",
        ),
        (lambda: kzoo.models.hog_svm((40, 40, 1), 3, cell=0), "at least 1, got 0, 3 and 9"),
        (lambda: kzoo.models.hog_svm((40, 40, 1), 3, block_norm="l2"), "unknown block_norm 'l2'; did you mean"),
        (lambda: kzoo.models.hog_svm((40, 1), 3), "takes 2-D feature maps"),
        (lambda: kzoo.models.nearest_neighbour((None, 1), 2), "fixed input size"),
        (lambda: kzoo.models.nearest_neighbour((9, 1), 2, room=0), "positive number of training series, got 0"),
        (lambda: kzoo.models.mfcc_svm((40, 13, 1), 2), "takes 1-D feature maps"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class TestLimit:
    """Fewer training examples, the test split as it is."""

    def test_classes_keep_their_proportions(self):
        whole, few = kzoo.load_dataset("digits"), kzoo.load_dataset("digits", limit=100)
        assert [len(few.examples[split]) for split in ("train", "validation", "test")] == [100, 144, 360]
        assert np.bincount(few.examples["train"].labels).min() >= 9
        np.testing.assert_array_equal(few.examples["test"].inputs, whole.examples["test"].inputs)

    @pytest.mark.parametrize("limit, message", [(0, "positive integer"), (5, "cannot take 5 of 1293")])
    def test_a_wrong_one_is_explained(self, limit, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset("digits", limit=limit)


class TestCompareClassical:
    """One table of hand-crafted and learned features."""

    @pytest.fixture(scope="class")
    def found(self, tmp_path_factory):
        out = tmp_path_factory.mktemp("runs")
        return kzoo.compare_classical("digits", epochs=1, limit=300, out=out, verbose=False), out

    @pytest.mark.slow
    def test_the_table(self, found):
        table, _ = found
        kinds = [row["kind"] for row in table.rows]
        assert kinds[0] == "classical"
        assert {"multi-layer perceptron", "fixed filters", "learned filters", "learned convolution"} <= set(kinds)
        hog = table.rows[0]
        assert hog["model"] == "hog_svm"
        assert hog["test accuracy"] > 0.9
        assert hog["trained parameters"] == 324 * 10 + 10
        frozen, learned = (row for row in table.rows if row["model"] == "fixed_filters")
        assert frozen["fixed parameters"] - learned["fixed parameters"] == 7 * 7 * 21
        console = Console(width=200, file=io.StringIO())
        console.print(table)
        assert "learned convolution" in console.file.getvalue()
        assert "learned convolution</td>" in table._repr_html_()
        json.dumps(table.to_dict())

    @pytest.mark.slow
    def test_run_directories_are_written(self, found):
        table, out = found
        assert len(list(out.iterdir())) == len(table.rows)
        assert kzoo.compare(sorted(out.iterdir())).results()[0]["dataset"] == "digits"
        report = kzoo.evaluate_run(out / "classical_hog_svm")
        assert report.accuracy == table.rows[0]["test accuracy"]

    @needs_series
    @pytest.mark.slow
    def test_series(self):
        table = kzoo.compare_classical("ItalyPowerDemand", epochs=1, verbose=False)
        assert [row["model"] for row in table.rows] == ["nearest_neighbour", "mlp", "minirocket", "fcn"]
        assert table.rows[0]["fixed parameters"] == 67 * (24 + 2) + 1

    def test_mistakes_are_explained(self):
        with pytest.raises(ValueError, match="epochs must be a positive integer"):
            kzoo.compare_classical("digits", epochs=0)
        with pytest.raises(ValueError, match="unknown dataset 'digit'; did you mean digits"):
            kzoo.compare_classical("digit")
        result = CliRunner().invoke(app, ["compare-classical", "digits", "imagesize=9"])
        assert "did you mean image_size" in str(result.exception)
