"""Image files that are read when they are needed, and the cache of what was decoded."""

import dataclasses
import functools
import io
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kzoo
from kzoo import cli
from kzoo.data import cache, sources
from kzoo.data.image.augment import ResizedCrop
from kzoo.data.image.files import read_image
from kzoo.data.image.geometry import Geometry
from kzoo.data.image.source import Crop, ImageFiles, crop_box, fitted, plain_jpeg_size, upright_jpeg_size
from kzoo.data.random import seeds_at


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return class folders of 24 images that differ in size: JPEG, grey PNG and a rotated JPEG."""
    root = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for index in range(24):
        (root / "ab"[index % 2]).mkdir(exist_ok=True)
        small = rng.integers(0, 256, (6, 8, 3), "uint8")
        image = Image.fromarray(small).resize((60 + index, 40), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = 6 if index == 3 else 1
        suffix = "png" if index % 5 == 0 else "jpg"
        image.save(
            root / "ab"[index % 2] / f"{index:02d}.{suffix}", exif=exif, **({} if suffix == "png" else {"quality": 90})
        )
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "EAGER", 0)


def loaded(folder, **options):
    return kzoo.load_dataset(f"folder:{folder}", image_size=16, batch_size=4, **options)


def source_of(folder):
    return ImageFiles.of(sorted(folder.glob("*/*")), functools.partial(read_image, channels=3), Geometry((20, 24)))


def all_batches(data):
    every = [*data.train_batches().take(2 * data.steps_per_epoch), *data.validation, *data.test]
    return [np.concatenate([np.asarray(part).ravel() for part in batch]) for batch in every]


@pytest.fixture
def reads(monkeypatch):
    """Return the list of the files that are decoded."""
    found = []

    def read(path, channels, **how):
        found.append(path)
        return read_image(path, channels, **how)

    monkeypatch.setattr("kzoo.data.image.files.read_image", read)
    return found


@pytest.mark.parametrize("where", ["auto", "memory", "disk", None])
def test_batches_are_the_same_whatever_is_cached(folder, where, monkeypatch):
    lazy = all_batches(loaded(folder, cache=where))
    monkeypatch.setattr(cache, "EAGER", 2000)
    for found, expected in zip(lazy, all_batches(loaded(folder)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_only_what_is_asked_for_is_decoded(folder, reads):
    data = loaded(folder, limit=6, cache=None)
    reads.clear()
    next(iter(data.eval_batches("test")))
    assert 0 < len(reads) <= len(data.examples["test"])


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_cached_example_is_decoded_once(folder, where, reads):
    data = loaded(folder, cache=where)
    first, again = (all_batches(data) for _ in range(2))
    assert len(reads) == len(set(reads)) == 24
    assert all(map(np.array_equal, first, again))


def test_the_cache_on_the_disk_serves_the_next_run(folder, reads):
    all_batches(loaded(folder, cache="disk"))
    reads.clear()
    all_batches(loaded(folder, cache="disk"))
    assert reads == []
    assert sum(entry.examples for entry in cache.cache_entries()) == 24


def test_a_changed_file_is_not_taken_from_the_cache(folder, tmp_path, reads):
    copy = shutil.copytree(folder, tmp_path / "copy")
    all_batches(loaded(copy, cache="disk"))
    for file in copy.glob("a/*"):
        Image.new("RGB", (50, 50), (255, 0, 0)).save(file)
    reads.clear()
    data = loaded(copy, cache="disk")
    red = data.examples["train"].inputs[np.flatnonzero(data.examples["train"].labels == 0)]
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3
    assert reads


def test_what_was_not_written_to_the_end_is_decoded_again(folder):
    source = loaded(folder, cache="disk").examples["train"].inputs
    source.rows[:] = 7
    (source.folder / cache.KNOWN).unlink()  # as after a crash between the examples and the list of them
    again = loaded(folder, cache="disk").examples["train"].inputs
    assert len(np.unique(again[0])) > 1


def test_clearing_the_cache_leaves_foreign_files(folder):
    all_batches(loaded(folder, cache="disk"))
    foreign = cache.cache_folder() / "mine.txt"
    foreign.write_text("mine")
    assert cache.clear_cache() > 0
    assert os.listdir(cache.cache_folder()) == ["mine.txt"]


def test_the_command_shows_and_clears_the_cache(folder, capsys, monkeypatch):
    all_batches(loaded(folder, cache="disk"))
    for arguments, expected in (
        (["cache"], "train"),
        (["cache", "--clear"], "deleted 0.00 GB"),
        (["cache"], "0.00 GB of"),
    ):
        monkeypatch.setattr("sys.argv", ["kzoo", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        assert expected in capsys.readouterr().out


def test_the_oldest_entries_make_room(folder, monkeypatch):
    all_batches(loaded(folder, cache="disk"))
    before = cache.cache_entries()
    monkeypatch.setenv("KZOO_CACHE_GB", f"{(sum(entry.nbytes for entry in before) + 100) / 1e9:.9f}")
    kzoo.load_dataset(f"folder:{folder}", image_size=15, cache="disk")
    assert before[0].folder not in [entry.folder for entry in cache.cache_entries()]


@pytest.mark.parametrize(("limit", "message"), [("0.000001", "more than the limit"), ("none", "positive number")])
def test_what_does_not_fit_is_refused(folder, monkeypatch, limit, message):
    monkeypatch.setenv("KZOO_CACHE_GB", limit)
    with pytest.raises(ValueError, match=message):
        loaded(folder, cache="disk")


def test_a_full_disk_is_said_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ValueError, match="0.00 GB left; set KZOO_CACHE"):
        loaded(folder, cache="disk")
    assert not list(cache.cache_folder().glob("*/*.npy"))


def test_an_unknown_cache_is_explained(folder):
    with pytest.raises(ValueError, match="unknown cache 'disc'; did you mean disk"):
        loaded(folder, cache="disc")


def test_images_of_several_sizes_need_a_size(folder):
    with pytest.raises(
        ValueError, match=r"differ in size \(the first is 40 x 60, .*02.jpg is 40 x 62\); give image_size"
    ):
        kzoo.load_dataset(f"folder:{folder}")


def test_a_broken_file_is_named_when_the_training_reads_it(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = loaded(copy, cache=None)
    for file in copy.glob("*/*.jpg"):
        file.write_bytes(b"broken")
    model = kzoo.models.mlp(data.input_shape, 2)
    with pytest.raises(ValueError, match=r"^\S*/\d\d.jpg cannot be read as an image"):
        kzoo.fit(model, data, epochs=1, verbose=0)


class TestCrops:
    @pytest.fixture(scope="class")
    def source(self, folder):
        return source_of(folder)

    def test_a_crop_is_that_part_of_the_image_that_pillow_reads(self, source):
        indices = tf.range(len(source), dtype=tf.int64)
        crops = source.cropped(indices, seeds_at(indices, tf.constant([1, 2])), lambda size, _: Crop((3, 5, 30, 31)))
        for file, crop in zip(source.files, crops.numpy(), strict=True):
            expected = fitted(read_image(file, 3)[3:33, 5:36], source.shape[1:3]).numpy()
            inner = np.abs(crop.astype(int) - expected)[1:-1, 1:-1]  # colours at the edge are those of fewer pixels
            assert inner.max() <= 1, file

    def test_a_crop_depends_on_seed_and_index_but_not_on_the_batch(self, source):
        def crops(indices, epoch=0):
            indices = tf.constant(indices, tf.int64)
            draw = ResizedCrop(interpolation="random").draw
            return source.cropped(indices, seeds_at(indices, tf.constant([0, epoch]) + 5 * epoch), draw).numpy()

        whole = crops(range(6))
        np.testing.assert_array_equal(np.concatenate([crops([0, 1]), crops([2, 3, 4, 5])]), whole)
        assert (crops(range(6), epoch=1) != whole).any()

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"x" * 300}])
    @pytest.mark.parametrize("mode, plain", [("RGB", True), ("L", True), ("CMYK", False)])
    def test_a_size_read_directly_is_that_of_pillow(self, mode, plain, options):
        def jpeg(**more):
            Image.new(mode, (50, 31)).save(written := io.BytesIO(), "JPEG", **options, **more)
            return written.getvalue()

        assert plain_jpeg_size(jpeg()) == ((31, 50) if plain else None)
        assert upright_jpeg_size(jpeg()) == upright_jpeg_size(jpeg(exif=Image.Exif())) == plain_jpeg_size(jpeg())
        turned = Image.Exif()
        turned[0x0112] = 6
        assert plain_jpeg_size(jpeg(exif=turned)) is None
        assert upright_jpeg_size(jpeg(exif=turned)) is None
        assert all(plain_jpeg_size(jpeg()[:count]) is None for count in range(30))

    def test_boxes_lie_inside_and_have_the_area_and_aspect_ratio_that_were_asked_for(self):
        generator = np.random.default_rng(0)
        boxes = np.array([crop_box((60, 80), generator, (0.2, 0.5), (0.8, 1.25)) for _ in range(500)])
        top, left, height, width = boxes.T
        assert (boxes >= 0).all()
        assert (top + height <= 60).all()
        assert (left + width <= 80).all()
        area = height * width / 4800
        assert 0.19 < area.min() < 0.23
        assert 0.47 < area.max() < 0.52
        assert abs(area.mean() - 0.35) < 0.02
        assert 0.78 < (width / height).min() < 0.84
        assert 1.19 < (width / height).max() < 1.29

    def test_an_image_too_long_for_the_ratio_is_cropped_in_its_middle(self):
        assert crop_box((10, 100), np.random.default_rng(0), (1, 1), (0.75, 4 / 3)) == (0, 43, 10, 13)


def test_statistics_are_those_of_a_sample(folder, monkeypatch):
    exact = loaded(folder, cache=None).preprocess
    monkeypatch.setattr(sources, "SAMPLE", 8)
    close = loaded(folder, cache=None).preprocess
    assert close != exact
    np.testing.assert_allclose(close.mean, exact.mean, atol=30)


def test_a_source_is_told_apart_by_its_files_and_its_options(folder):
    source = source_of(folder)
    others = [source.take(np.arange(3)), dataclasses.replace(source, geometry=Geometry((20, 25)))]
    assert len({one.fingerprint() for one in (source, *others)}) == 3
    assert source.take(np.arange(len(source))).fingerprint() == source.fingerprint()


def test_crops_of_a_training_are_those_of_the_originals_and_differ_in_each_epoch(folder, monkeypatch):
    data = loaded(folder, augment={"resized_crop": {"area": [0.05, 0.1]}}, cache="memory")
    assert isinstance(data.examples["train"].inputs, ImageFiles)
    assert not isinstance(data.examples["test"].inputs, ImageFiles)
    every = [np.asarray(batch[0]) for batch in data.train_batches().take(2 * data.steps_per_epoch)]
    first, second = np.concatenate(every[: len(every) // 2]), np.concatenate(every[len(every) // 2 :])
    assert first.shape == second.shape == (18, 16, 16, 3)
    assert abs(first.mean() - second.mean()) > 1e-4
    resumed = [np.asarray(batch[0]) for batch in data.train_batches(data.steps_per_epoch).take(data.steps_per_epoch)]
    np.testing.assert_array_equal(np.concatenate(resumed), second)
