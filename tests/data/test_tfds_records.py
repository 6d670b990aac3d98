"""Prepared datasets of tensorflow-datasets whose images are read at indices."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import kzoo
from kzoo.data.image import sets
from kzoo.data.sources import Source
from kzoo.data.tfds import TFRecords, places_of


class Mosaics(tfds.core.GeneratorBasedBuilder):
    """Images of three sizes in two classes: dark and light."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(40), "test": self._generate_examples(10)}

    def _generate_examples(self, count):
        rng = np.random.default_rng(count)
        for index in range(count):
            small = rng.integers(0, 128, (5, 6, 3)) + 128 * (index % 2)
            yield index, {"image": np.kron(small, np.ones((8 + index % 3, 9, 1))).astype("uint8"), "label": index % 2}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Return a function that prepares the dataset in a format and loads it."""
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))

    def load(name_of_format=None, **options):
        def find(name, data_dir, file_format=None):
            wanted = name_of_format or file_format
            return Mosaics(data_dir=tmp_path / str(wanted), **({"file_format": wanted} if wanted else {}))

        monkeypatch.setattr(sets, "find_builder", find)
        monkeypatch.setattr(sets, "prepare", lambda builder, download: builder.download_and_prepare())
        return kzoo.load_dataset("mnist", image_size=16, batch_size=8, **options)  # the name of any dataset

    return load


@pytest.mark.parametrize("name", [None, "array_record", "tfrecord"])
def test_images_of_several_sizes_are_read_at_indices(prepared, name):
    data = prepared(name, cache=None)
    assert isinstance(data.examples["train"].inputs, Source)


def test_both_formats_hold_the_same_examples(prepared):
    found = []
    for name in ("array_record", "tfrecord"):
        splits = prepared(name, cache=None).examples.values()
        rows = [
            (image.tobytes(), label)
            for each in splits
            for image, label in zip(each.inputs[:], each.labels, strict=True)
        ]
        found.append(sorted(rows))
    assert found[0] == found[1]
    assert len(found[0]) == 50


def test_records_of_tfrecord_files_are_those_of_tensorflow(tmp_path):
    import tensorflow as tf

    written, files = [b"", b"one", bytes(300), b"last"], [tmp_path / "a", tmp_path / "b"]
    for file, records in zip(files, (written[:3], written[3:]), strict=True):
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in records:
                writer.write(record)
    found = TFRecords(files, bytes, places_of(files))
    assert list(found) == written
    files[1].write_bytes(files[1].read_bytes()[:-3])
    with pytest.raises(ValueError, match="b is truncated: its last record needs 3 more bytes"):
        places_of(files)
    files[1].write_bytes(b"short")
    with pytest.raises(ValueError, match="b is truncated"):
        places_of(files)


def test_labels_are_read_once(prepared, monkeypatch):
    first = prepared(cache=None).examples["train"].labels
    monkeypatch.setattr("kzoo.data.tfds.rich_progress", None)  # the bar of reading labels
    np.testing.assert_array_equal(prepared(cache=None).examples["train"].labels, first)
