"""Every augmentation of every kind of data: a function of the seed, as parts of a training's batches."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.data.audio import Recordings
from kzoo.data.audio.augment import Background
from kzoo.data.mixing import Mixing
from kzoo.data.splits import MODALITIES, Examples, Splits
from kzoo.data.timeseries import SeriesAugment
from kzoo.tasks import Classification

RNG = np.random.default_rng(0)
COUNT = 24
LABELS = (np.arange(COUNT) % 3).astype("int32")
RAW = {
    "image": Examples(RNG.integers(0, 256, (COUNT, 18, 17, 3)).astype("uint8"), LABELS),
    "audio": Recordings(RNG.normal(0, 2000, (COUNT, 4000)).astype("int16"), LABELS, 8000),
    "text": Examples(np.array([" ".join(RNG.choice(list("abcde"), 12)) for _ in LABELS], dtype=object), LABELS),
    "timeseries": Examples(RNG.normal(2, 1, (COUNT, 30, 2)).astype("float32"), LABELS),
}
MIXED = {"mixup": 0.4, "cutmix": 1.0}
CHANGES = {
    "image": MIXED
    | {"flip": True, "shift": 4, "rotation": 20, "cutout": 5, "randaugment": 20, "erase": 0.9}
    | {"erase_area": (0.3, 0.5), "erase_aspect": 0.5, "erase_fill": "mean"}
    | {"resized_crop": {}, "color_jitter": {"brightness": 0.4, "hue": 0.1}, "zoom": 0.3, "trivialaugment": True}
    | {"elastic": 2.0},
    "audio": MIXED
    | {"shift": 0.1, "speed": 0.1, "gain": 0.5, "noise": 0.2, "time_mask": 20, "frequency_mask": 10, "masks": 2}
    | {"background": Background(RNG.normal(0, 900, 9000).astype("int16"), (9000,)), "background_snr": (0, 5)}
    | {"keep_silence": True},
    "text": {"word_dropout": 0.3, "character_dropout": 0.2},
    "timeseries": MIXED
    | {"jitter": 0.1, "scale": 0.2, "time_warp": 0.5, "magnitude_warp": 0.3, "flip": True, "permutation": 5}
    | {"window_slice": 0.3, "window_warp": 0.2, "mask": 0.5},
}
WITH = {  # how another change is done, not a change by itself
    "erase_area": {"erase": 0.9},
    "erase_aspect": {"erase": 0.9},
    "erase_fill": {"erase": 0.9},
    "masks": {"time_mask": 20},
    "background_snr": {"background": CHANGES["audio"]["background"]},
    "keep_silence": {"noise": 0.2},
}
EACH = [(modality, name) for modality, changes in CHANGES.items() for name in changes]


def splits(modality: str, seed: int = 0, **changes) -> Splits:
    """Return a set whose training batches are changed, 10 examples each and 4 in the last."""
    (preprocessing, augmentation), raw = MODALITIES[modality], RAW[modality]
    augment = augmentation(**changes) if changes else None
    every = dict.fromkeys(("train", "validation", "test"), raw)
    return Splits("set", modality, every, Classification(("a", "b", "c")), preprocessing.fit(raw), augment, 10, seed)


def batches(data: Splits) -> list:
    """Return two epochs of training batches."""
    return list(data.train_batches().take(2 * data.steps_per_epoch).as_numpy_iterator())


def every(step: int) -> list:
    """Return each augmentation of each modality as pytest parameters, all but every n-th marked as slow."""
    return [pytest.param(*one, marks=() if one in EACH[::step] else pytest.mark.slow) for one in EACH]


def test_every_augmentation_is_among_those_tested():
    for modality, (_, augmentation) in MODALITIES.items():
        assert CHANGES.get(modality, {}).keys() == {field.name for field in dataclasses.fields(augmentation)}


@pytest.mark.parametrize("modality, name", every(6))
def test_batches_are_a_function_of_seed_epoch_and_step(modality, name):
    changes = {name: CHANGES[modality][name]} | WITH.get(name, {})
    plain, first, again = (batches(splits(modality, **options)) for options in ({}, changes, changes))
    for (x, y), (other_x, other_y) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
    for (x, y), (plain_x, plain_y) in zip(first, plain, strict=True):
        assert x.shape == plain_x.shape
        assert x.dtype == plain_x.dtype
        assert np.isfinite(x).all()
        if name in MIXED:
            assert y.dtype == "float32"
            assert y.shape == (len(x), 3)
            np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
            assert (y >= 0).all()
        else:
            np.testing.assert_array_equal(y, plain_y)
    assert any((x != plain_x).any() for (x, _), (plain_x, _) in zip(first, plain, strict=True))


@pytest.mark.parametrize("modality, name", every(3))
def test_the_seed_alone_decides_what_becomes_of_a_batch(modality, name):
    data = splits(modality, **{name: CHANGES[modality][name]} | WITH.get(name, {}))
    inputs, labels = tf.constant(data.examples["train"].inputs), tf.constant(LABELS)
    step = tf.function(data.augmented)
    changed = [step(inputs, labels, tf.constant([0, seed], tf.int64))[0].numpy() for seed in (1, 1, 2, 3)]
    np.testing.assert_array_equal(changed[0], changed[1])
    assert (changed[0] != changed[2]).any()
    assert (changed[2] != changed[3]).any()


@pytest.mark.parametrize("modality", CHANGES)
def test_all_at_once(modality):
    data = splits(modality, **CHANGES[modality])
    for x, _ in batches(data):
        assert x.shape[1:] == data.input_shape
        assert np.isfinite(x).all()
    for _, y in data.validation.as_numpy_iterator():
        assert y.dtype == "int32"


def test_texts_are_not_mixed():
    with pytest.raises(ValueError, match="unknown augmentation of text data, 'mixup'"):
        kzoo.load_dataset("language_names", augment={"mixup": 0.2})
    assert not issubclass(MODALITIES["text"].augment, Mixing)


class TestSeries:
    """The changes of time and size of `SeriesAugment`, on straight lines."""

    def changed(self, series, **changes) -> np.ndarray:
        return SeriesAugment(**changes)(series, tf.constant([3, 4])).numpy()

    def ramps(self, count=300, length=61) -> np.ndarray:
        return np.broadcast_to(np.arange(1, length + 1, dtype="float32")[None, :, None], (count, length, 1))

    @pytest.mark.parametrize("name", sorted(CHANGES["timeseries"].keys() - MIXED.keys()))
    def test_a_padded_series_is_changed_as_it_would_be_alone_and_keeps_its_padding(self, name):
        series = np.random.default_rng(0).normal(3, 1, (6, 40, 2)).astype("float32")
        series[:, 30:] = 0
        changes = {name: CHANGES["timeseries"][name]}
        changed = self.changed(series, **changes)
        assert (changed[:, 30:] == 0).all()
        if name != "jitter":  # whose noise is drawn for the whole array
            np.testing.assert_allclose(changed[:, :30], self.changed(series[:, :30], **changes), rtol=1e-4, atol=1e-4)

    def test_magnitude_warp_is_a_smooth_factor_of_each_channel_within_its_range(self):
        factor = self.changed(np.ones((200, 100, 2), "float32"), magnitude_warp=0.3)
        assert 0.7 <= factor.min() < 0.8
        assert 1.2 < factor.max() <= 1.3
        assert np.abs(np.diff(factor, axis=1)).max() < 0.3 * 2 * np.pi / 99  # 1/3 of the slopes of 1, 2, 3 half waves
        assert (factor[..., 0] != factor[..., 1]).any(axis=1).all()

    def test_flip_turns_about_half_of_the_channels(self):
        factor = self.changed(np.ones((200, 10, 2), "float32"), flip=True)
        assert set(np.unique(factor)) == {-1.0, 1.0}
        assert (factor == factor[:, :1]).all()
        assert 0.4 < (factor[:, 0] == 1).mean() < 0.6
        assert 0.3 < (factor[:, 0, 0] == factor[:, 0, 1]).mean() < 0.7

    def test_permutation_exchanges_up_to_so_many_equal_pieces(self):
        ramps = self.ramps(length=60)  # 1 to 5 pieces of whole steps
        changed = self.changed(ramps, permutation=5)
        np.testing.assert_allclose(np.sort(changed, axis=1), ramps, atol=1e-4)
        breaks = (np.abs(np.diff(changed[..., 0], axis=1) - 1) > 1e-3).sum(axis=1)
        assert breaks.min() == 0
        assert breaks.max() == 4
        starts = changed[breaks == 4][:, ::12, 0] - 1
        np.testing.assert_allclose(
            np.sort(starts, axis=1), np.broadcast_to(np.arange(0, 60, 12), starts.shape), atol=1e-3
        )

    def test_permutation_of_pieces_that_are_no_whole_steps_stays_within_the_series(self):
        changed = self.changed(self.ramps(length=61), permutation=7)
        assert changed.min() >= 0.999
        assert changed.max() <= 61.001

    def test_a_window_slice_is_a_straight_piece_of_the_series(self):
        changed = self.changed(self.ramps(), window_slice=0.4)[..., 0]
        speed = np.diff(changed, axis=1)
        np.testing.assert_allclose(speed, np.broadcast_to(speed[:, :1], speed.shape), atol=1e-3)
        assert 0.6 <= speed.min() < 0.61
        assert 0.99 < speed.max() <= 1.0001
        assert changed.min() >= 1
        assert changed.max() <= 61
        assert changed[:, 0].max() > 20
        assert changed[:, -1].min() < 41

    def test_a_window_warp_plays_one_piece_at_half_or_double_speed(self):
        changed = self.changed(self.ramps(), window_warp=0.2)[..., 0]
        np.testing.assert_allclose(changed[:, [0, -1]], np.broadcast_to([1, 61], (300, 2)), atol=1e-3)
        speed = np.diff(changed, axis=1)
        middle = np.median(speed, axis=1)  # 1.2 where the series became longer by the window, 0.9 where shorter
        assert set(np.round(middle.astype("float64"), 2)) == {1.2, 0.9}
        assert 100 < (middle > 1).sum() < 200
        np.testing.assert_allclose(speed[middle < 1].min(), 0.9, rtol=0.01)
        np.testing.assert_allclose(speed[middle < 1].max(), 1.8, rtol=0.01)
        np.testing.assert_allclose(speed[middle > 1].min(), 0.6, rtol=0.01)
        np.testing.assert_allclose(speed[middle > 1].max(), 1.2, rtol=0.01)

    def test_a_mask_sets_one_piece_to_the_mean(self):
        ramps = np.random.default_rng(0).normal(size=(300, 50, 2)).astype("float32")
        changed = self.changed(ramps, mask=0.4)
        hidden = changed != ramps
        np.testing.assert_array_equal(hidden[..., 0], hidden[..., 1])
        assert (np.abs(np.diff(np.pad(hidden[..., 0].astype(int), [(0, 0), (1, 1)]), axis=1)).sum(axis=1) <= 2).all()
        means = np.broadcast_to(ramps.mean(axis=1, keepdims=True), ramps.shape)
        np.testing.assert_allclose(changed[hidden], means[hidden], atol=1e-5)
        assert 19 <= hidden[..., 0].sum(axis=1).max() <= 21
        assert hidden.any(axis=(0, 2)).all()
