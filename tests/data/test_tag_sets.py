"""Datasets with several tags an example that need no download."""

import importlib.util

import numpy as np
import pytest

import kzoo
from kzoo.data.audio.sets import overlaid
from kzoo.data.image.sets import digit_scene
from kzoo.data.splits import Examples


class TestDigitScenes:
    def test_a_scene_holds_the_digits_of_its_tags_and_no_other(self):
        images = np.arange(101, 111, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 1), "uint8")
        pool, rng = Examples(images, np.arange(10)), np.random.default_rng(0)
        counts = set()
        for _ in range(50):
            scene, tags, mask = digit_scene(pool, 24, rng)
            assert scene.shape == (24, 24, 1)
            values, pixels = np.unique(scene[scene > 0], return_counts=True)
            np.testing.assert_array_equal(values - 101, np.flatnonzero(tags))
            assert set(pixels) <= {64}  # whole digits that do not overlap
            np.testing.assert_array_equal(np.unique(mask[mask > 0]), values - 100)  # class 1 for "0"
            counts.add(int(tags.sum()))
        assert counts == {0, 1, 2, 3, 4}

    def test_it_is_the_same_every_time_and_another_with_another_seed(self):
        one, same, other = (
            kzoo.dataset_card("digit_scenes").load(scenes=8, scene_seed=seed).train.inputs for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_sizes_and_tags(self):
        data = kzoo.load_dataset("digit_scenes", size=32, scenes=200)
        assert data.input_shape == (32, 32, 1)
        assert data.task.key == kzoo.dataset_card("digit_scenes").task == "tagging"
        assert data.class_names == tuple("0123456789")
        assert len(data.examples["test"]) == 50
        with pytest.raises(ValueError, match="size must be at least 8, the size of a digit, got 7"):
            kzoo.load_dataset("digit_scenes", size=7)


class TestSpokenMixtures:
    def test_clips_are_summed_and_scaled_where_they_are_too_loud(self):
        clips = np.array([[100, -100], [1, 2], [30000, -30000], [30000, 0]], "int16")
        np.testing.assert_array_equal(overlaid(clips, np.array([2, 4])), [[101, -98], [32767, -16384]])

    @pytest.mark.skipif(not importlib.util.find_spec("espeakng_loader"), reason="needs espeakng-loader")
    def test_one_to_three_digits_are_said(self):
        raw = kzoo.dataset_card("spoken_mixtures").load(mixtures=20, seconds=1.0)
        assert raw.train.inputs.shape == (20, 8000)
        assert (len(raw.validation), len(raw.test)) == (4, 8)
        assert set(raw.train.labels.sum(axis=1)) == {1, 2, 3}
        assert raw.task.names[:2] == ("zero", "one")
        again = kzoo.dataset_card("spoken_mixtures").load(mixtures=20, seconds=1.0)
        np.testing.assert_array_equal(raw.test.inputs, again.test.inputs)
