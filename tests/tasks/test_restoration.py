"""Restoration: noise that is drawn anew, patches of pairs, scores, images of any size, and all the way to an export."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.core.bicubic import bicubic
from kzoo.data.degrade import degraded, scale_of
from kzoo.data.pairs import pairs
from kzoo.data.splits import Examples
from kzoo.tasks import Restoration, report_from, task_from
from kzoo.tasks.restoration import psnr, ssim

PIXELS = Restoration(("grey",), mean=(0.0,), deviation=(255.0,), peak=255.0, limits=(0.0, 255.0))
RANDOM = np.random.default_rng(0)


def image(height: int, width: int, channels: int = 1) -> np.ndarray:
    """Return a smooth image, 8-bit."""
    rows, columns = np.mgrid[:height, :width]
    return (
        (128 + 100 * np.sin(rows / 7)[..., None] * np.cos(columns / 9)[..., None]).astype("uint8").repeat(channels, -1)
    )


def test_a_series_is_enlarged_for_comparison_as_an_image_is():
    task = Restoration(("a",), ("length",), mean=(0.0,), deviation=(1.0,), peak=2.0, scale=2)
    fine = np.sin(np.linspace(0, 3, 41))[None, :40, None].astype("float32")
    coarse = (fine[:, ::2] + fine[:, 1::2]) / 2
    report = task.report("test", fine, fine, 1.0)
    assert task.compared(report, [Examples(coarse, fine)]).input_psnr > 40


def seed(*numbers: int) -> np.ndarray:
    return np.array(numbers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of several sizes: ten for training, and three of a test split."""
    path = tmp_path_factory.mktemp("images")
    for split, count in (("train", 10), ("test", 3)):
        (path / split).mkdir()
        for number in range(count):
            Image.fromarray(image(24 + 2 * number, 30 - number)[..., 0]).save(path / split / f"{number}.png")
    return path


class TestScores:
    def test_ratio_is_that_of_the_formula(self):
        clean = image(40, 30).astype("float32")
        assert psnr(PIXELS, clean, clean + 25) == pytest.approx(20 * np.log10(255 / 25))
        assert psnr(PIXELS, clean, clean) == 100
        assert ssim(PIXELS, clean, clean) == pytest.approx(1)
        assert ssim(PIXELS, clean, clean + RANDOM.normal(0, 25, clean.shape)) < 0.6
        assert ssim(PIXELS, clean[:9], clean[:9]) is None

    def test_luminance_and_border_are_measured_as_in_papers(self):
        task = Restoration(("red", "green", "blue"), peak=255.0, luminance=True, border=2)
        clean, other = np.zeros((2, 10, 10, 3))
        other[2:-2, 2:-2] = 255, 0, 0
        other[:2] = 99
        assert psnr(task, clean, other) == pytest.approx(20 * np.log10(255 / 65.481))
        with pytest.raises(ValueError, match="luminance is that of red, green and blue, got 1 channels"):
            Restoration(("grey",), luminance=True)

    def test_the_metric_is_the_ratio_of_the_report(self):
        targets = RANDOM.uniform(0, 255, (5, 6, 7, 1))
        answers = np.clip(targets + RANDOM.normal(0, 20, targets.shape), 0, 255)
        (metric,) = PIXELS.metrics()
        metric.update_state(PIXELS.encode(targets[:2]), PIXELS.encode(answers[:2]))
        metric.update_state(PIXELS.encode(targets[2:]), PIXELS.encode(answers[2:]))
        assert float(metric.result()) == pytest.approx(PIXELS.measured(targets, answers), abs=1e-3)
        assert type(metric).from_config(metric.get_config()).scales == metric.scales

    @pytest.mark.parametrize("kind, expected", [("mse", 0.25), ("mae", 0.5), ("charbonnier", 0.500001)])
    def test_losses_by_hand(self, kind, expected):
        loss = PIXELS.loss(loss=kind)
        found = loss(np.zeros((2, 3, 3, 1)), np.full((2, 3, 3, 1), 0.5))
        assert float(found) == pytest.approx(expected, rel=1e-6)
        assert type(loss).from_config(loss.get_config()).kind == kind

    def test_answers_are_clipped_to_the_limits(self):
        assert PIXELS.answers(np.array([[[[-0.1]], [[2.0]]]])).ravel().tolist() == [0, 255]
        assert task_from(json.loads(json.dumps(PIXELS.to_dict()))) == PIXELS


class TestPairs:
    def test_both_are_of_one_patch_and_the_noise_is_the_seeds(self):
        inputs, targets = pairs([image(50, 60), image(40, 45)], {"noise": 10.0}, patch=16, patches=4)
        assert inputs.shape == targets.shape == (8, 16, 16, 1)
        noises = []
        for key in (seed(0, 5), seed(0, 5), seed(1, 5)):
            one, other = inputs.at_random(5, key), targets.at_random(5, key)
            noises.append(one - other)
            assert 8 < noises[-1].std() < 12
        assert (noises[0] == noises[1]).all()
        assert not (noises[0] == noises[2]).any()
        assert (inputs[3] == inputs[3]).all()
        assert (inputs.take(np.array([6, 3]))[1] == inputs[3]).all()

    def test_whole_examples_keep_their_sizes(self):
        inputs, targets = pairs([image(50, 61), image(40, 45)], {"reduce": 3})
        assert inputs.shape == targets.shape == (2, None, None, 1)
        assert (inputs[0].shape, targets[0].shape) == ((16, 20, 1), (48, 60, 1))
        enlarged, _ = pairs([image(50, 61)], {"reduce": 3}, enlarge=True)
        assert enlarged.shape == (1, 48, 60, 1)
        assert np.abs(enlarged[0] - targets[0]).mean() < 2

    def test_series_are_degraded_like_images(self):
        wave = np.sin(np.arange(120) / 9)[:, None].astype("float32").repeat(2, axis=1)
        inputs, targets = pairs([wave], {"blur": 1.0, "reduce": 2, "noise": 0.01})
        assert (inputs[0].shape, targets[0].shape) == ((60, 2), (120, 2))
        assert np.abs(bicubic(inputs[0], 2) - targets[0]).mean() < 0.05
        assert scale_of({"reduce": 2, "noise": 1}) == 2
        known = degraded(np.ones((1000, 1), "float32"), {"missing": 0.3}, np.random.default_rng(0))
        assert 0.65 < known.mean() < 0.75


class TestImages:
    def test_training_sees_new_noise_in_each_epoch_and_measuring_the_same(self, folder):
        data = kzoo.load_dataset(f"restore:{folder}", degrade={"noise": 20}, patch=8, patches=4, batch_size=16)
        assert data.input_shape == (None, None, 1)
        assert data.examples["test"].inputs.shape == (3, None, None, 1)
        assert [len(data.examples[split]) for split in ("train", "validation")] == [36, 4]
        assert not set(data.examples["train"].groups) & set(data.examples["validation"].groups)
        (one, target), (other, _) = (next(iter(data.train)) for _ in range(2))
        assert 15 < 255 * np.std(one - target) < 25
        assert not np.allclose(np.sort(np.ravel(one)), np.sort(np.ravel(other)))
        again = kzoo.load_dataset(f"restore:{folder}", degrade={"noise": 20}, patch=8, patches=4, batch_size=16)
        np.testing.assert_array_equal(one, next(iter(again.train))[0])
        sizes = [tuple(inputs.shape) for inputs, _ in data.test]
        assert sizes == [(1, 24 + 2 * n, 30 - n, 1) for n in range(3)]

    def test_images_of_several_sizes_are_evaluated_whole(self, folder, tmp_path):
        data = kzoo.load_dataset(f"restore:{folder}", degrade={"reduce": 2}, patch=8, patches=2, batch_size=8)
        model = kzoo.create_model("espcn_x3", data.input_shape, 1, filters=(4, 4), scale=2)
        kzoo.fit(model, data, epochs=1, loss="charbonnier", verbose=False)
        report = kzoo.evaluate(model, data, run_dir=tmp_path)
        assert report.examples == 3
        assert report.input_psnr > 25  # by bicubic interpolation
        assert (tmp_path / "worst.png").stat().st_size > 5000
        assert "pictured" not in json.loads((tmp_path / "metrics.json").read_text())
        with pytest.raises(ValueError, match="outputs at 24 x 24 positions, but the targets of .* 16 x 16"):
            kzoo.evaluate(kzoo.create_model("espcn_x3", (8, 8, 1), 1), fixed(data))

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"degrade": {"nois": 3}}, "unknown degradation 'nois'; did you mean noise"),
            ({"degrade": {"noise": -1}}, "degrade.noise must be a positive number, got -1"),
            ({"degrade": {"missing": 2}}, "degrade.missing must be a positive number up to 1, got 2"),
            ({"degrade": {"reduce": 1.5}}, "degrade.reduce must be a whole factor, got 1.5"),
            ({"degrade": {"reduce": 3}, "patch": 8}, "patch must be a multiple of 3, .* got 8"),
            ({"patch": 40}, "0.png is 24 x 30, smaller than patch=40"),
            ({"patch": None}, "1.png is 26 x 29, but .*0.png is of another size; give a patch"),
            ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
            ({"train": "trian"}, "has no images for train='trian'; there are images in 'test', 'train'"),
        ],
    )
    def test_mistakes_are_explained(self, folder, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(f"restore:{folder}", **{"patch": 8} | options)


def fixed(data):
    """Return a dataset whose inputs are known to be 8 x 8."""
    preprocess = type(data.preprocess)(**vars(data.preprocess) | {"image_size": (8, 8)})
    return type(data)(**vars(data) | {"preprocess": preprocess})


@pytest.mark.slow
def test_digits_are_denoised_exported_and_served(tmp_path):
    keras.utils.set_random_seed(0)
    data = kzoo.load_dataset("noisy_digits", batch_size=32, limit=640)
    model = kzoo.create_model("dncnn17", data.input_shape, 1, width=16, depths=1)
    run = tmp_path / "run"
    kzoo.fit(model, data, epochs=3, learning_rate=1e-2, run_dir=run, verbose=False)
    report = kzoo.evaluate(model, data, run_dir=run)
    assert report.psnr > report.input_psnr + 1
    assert report_from(json.loads((run / "metrics.json").read_text())).psnr == report.psnr
    assert "PSNR of the input" in str(report)
    assert kzoo.export(model, tmp_path / "export", data=data).max_difference < 1e-3
    predictor = kzoo.load_predictor(run)
    assert predictor.predict(data.examples["test"].inputs[:4]).shape == (4, 8, 8, 1)
    Image.fromarray(image(8, 8)[..., 0]).save(tmp_path / "photo.png")
    found = predictor.predict(tmp_path / "photo.png")
    assert (found.size, data.task.picture(found.array).size) == ([8, 8], (8, 8))


def test_series_are_denoised():
    keras.utils.set_random_seed(0)
    clean = np.sin(RANDOM.uniform(0.1, 0.4, (120, 1)) * np.arange(40))[..., None]
    noisy = clean + RANDOM.normal(0, 0.5, clean.shape)
    how = {"task": "restoration", "modality": "timeseries", "validation": 0.2, "test": 0.2, "batch_size": 8}
    data = kzoo.from_arrays(noisy, clean, **how)
    assert (data.task.axes, data.task.outputs) == (("length",), 1)
    model = kzoo.create_model("srcnn", data.input_shape, 1, filters=(8, 8))
    kzoo.fit(model, data, epochs=8, learning_rate=1e-2, verbose=False)
    report = kzoo.evaluate(model, data)
    assert (report.ssim, report.psnr > report.input_psnr) == (None, True)
    with pytest.raises(ValueError, match="targets at 20 positions, but inputs of 40"):
        kzoo.from_arrays(noisy, clean[:, ::2], **how)
