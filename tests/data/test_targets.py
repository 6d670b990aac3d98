"""Tags from arrays, tables, .npz files, lines of fastText and tensorflow-datasets, and mistakes in them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow_datasets as tfds

import kzoo
from kzoo.data.image import sets
from kzoo.data.targets import targets_as

SERIES = np.random.default_rng(0).normal(size=(40, 12)).astype("float32")
ROWS = (np.arange(120).reshape(40, 3) % 7 < 3).astype(int)
LISTS = [["rock", "live"], [], ["pop"], ["live"]] * 10


def tags_of(data, split="train") -> list[set[str]]:
    """Return the tags of each example as names."""
    return [{data.class_names[n] for n in np.flatnonzero(row)} for row in data.examples[split].labels]


class TestArrays:
    @pytest.mark.parametrize("rows", [ROWS, ROWS.tolist(), ROWS.astype(bool), ROWS.astype("float64")])
    def test_rows_of_0_and_1(self, rows):
        data = kzoo.from_arrays(SERIES, rows, task="tagging", class_names=["a", "b", "c"], validation=0, test=0)
        assert (data.task.key, data.class_names) == ("tagging", ("a", "b", "c"))
        np.testing.assert_array_equal(data.examples["train"].labels, ROWS)

    def test_a_data_frame_names_the_tags(self):
        frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
        assert kzoo.from_arrays(SERIES, frame, task="tagging").class_names == ("a", "b", "c")

    @pytest.mark.parametrize("kind", [list, tuple, set, np.array])
    def test_lists_of_names(self, kind):
        data = kzoo.from_arrays(SERIES, [kind(row) for row in LISTS], task="tagging", validation=0, test=0)
        assert data.class_names == ("live", "pop", "rock")
        assert tags_of(data) == [set(row) for row in LISTS]

    def test_lists_of_one_length_and_names_that_are_given(self):
        pairs = np.array([["b", "a"], ["a", "c"]] * 20)
        data = kzoo.from_arrays(SERIES, pairs, task="tagging", class_names=["c", "b", "a"], validation=0, test=0)
        assert data.class_names == ("c", "b", "a")
        assert tags_of(data)[:2] == [{"a", "b"}, {"a", "c"}]

    def test_splits_that_are_given(self):
        data = kzoo.from_arrays(SERIES, LISTS, task="tagging", validation=0.2, test=(SERIES[:2], [["pop"], []]))
        assert tags_of(data, "test") == [{"pop"}, set()]

    @pytest.mark.parametrize(
        "y, options, message",
        [
            (ROWS, {"task": "taging"}, "unknown task 'taging'; did you mean tagging"),
            (ROWS, {}, "not one-hot.*for several say task='tagging'"),
            (LISTS, {}, "the train split have 0 to 2 labels; for several say task='tagging'"),
            (["rock"] * 40, {"task": "tagging"}, "example 0 of the train split has 'rock'; expected a row of 0 and 1"),
            ([["rock"], [3]] * 20, {"task": "tagging"}, "example 1 of the train split has the tag 3, expected a name"),
            ([[1, 0], [1, 0, 1]] * 20, {"task": "tagging"}, "have rows of 2 and of 3"),
            (2 * ROWS, {"task": "tagging"}, "example 0 of the train split has 2 for '0', expected 0 or 1"),
            (ROWS, {"task": "tagging", "class_names": ["a"]}, r"shape \(40, 3\), expected \(n, 1\)"),
            (LISTS, {"task": "tagging", "class_names": ["rok", "pop", "live"]}, "'rock', which is none of class_names"),
            (LISTS, {"task": "tagging", "class_names": ["rock", "pop", "live", "jazz"]}, "has the tag 'jazz'"),
            (
                LISTS,
                {"task": "tagging", "test": (SERIES, [["jazz"]] * 40)},
                "of the test split.*'jazz', which no train",
            ),
            (LISTS, {"task": "tagging", "test": (SERIES, ROWS)}, "differ in kind between splits"),
            ([[]] * 40, {"task": "tagging"}, "at least one tag"),
        ],
    )
    def test_mistakes_are_named(self, y, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.from_arrays(SERIES, y, **options)

    def test_every_reader_asks_one_function(self):
        task, found = targets_as("tagging", {"train": [["a"], ["b", "a"]], "test": [["b"]]})
        assert task.names == ("a", "b")
        np.testing.assert_array_equal(found["train"], [[1, 0], [1, 1]])
        assert targets_as(None, {"train": ["x", "y"]})[0].key == "classification"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return f"table:{path}"


@pytest.fixture
def sounds(tmp_path):
    """Three recordings in each of two folders."""
    for folder, start in (("dev_audio", 0), ("eval_audio", 3)):
        (tmp_path / folder).mkdir()
        for number in range(start, start + 3):
            soundfile.write(tmp_path / folder / f"{number}.wav", np.full(800, 0.1 + 0.1 * number), 8000)
    return tmp_path


class TestTables:
    def test_one_column_with_a_separator(self, tmp_path):
        lines = [f"song number {n},{tags}" for n, tags in enumerate(["rock;live", "pop", "", "live; pop"] * 10)]
        name = write(tmp_path / "songs.csv", "text,tags", *lines)
        data = kzoo.load_dataset(name, task="tagging", validation=0, test=0)
        assert tags_of(data)[:4] == [{"rock", "live"}, {"pop"}, set(), {"live", "pop"}]
        with pytest.raises(ValueError, match="songs.csv has no tags in line 4"):
            kzoo.load_dataset(name)

    def test_one_column_a_tag(self, tmp_path):
        lines = [f"song {n},{n % 2},{n % 3 // 2}" for n in range(20)]
        name = write(tmp_path / "songs.csv", "text,rock,live", *lines)
        data = kzoo.load_dataset(name, task="tagging", input="text", target=["rock", "live"], validation=0, test=0)
        assert data.class_names == ("rock", "live")
        assert tags_of(data)[:6] == [set(), {"rock"}, {"live"}, {"rock"}, set(), {"rock", "live"}]
        with pytest.raises(ValueError, match="target names 2 columns of songs.csv; say task='tagging'"):
            kzoo.load_dataset(name, input="text", target=["rock", "live"])
        write(tmp_path / "songs.csv", "text,rock,live", "a,1,yes", "b,0,0")
        with pytest.raises(ValueError, match="has 'yes' in line 2, column live; expected a number"):
            kzoo.load_dataset(name, task="tagging", input="text", target=["rock", "live"])

    def test_a_separator_is_of_tagging(self, tmp_path):
        name = write(tmp_path / "songs.csv", "text,tags", *(f"song {n},{n % 2}" for n in range(20)))
        with pytest.raises(ValueError, match="unknown option of classification 'separator'"):
            kzoo.load_dataset(name, separator="|")

    def test_data_frames_and_lists_in_cells(self):
        frame = pd.DataFrame({"text": [f"song {n}" for n in range(40)], "tags": LISTS})
        data = kzoo.from_frame(frame, target="tags", task="tagging", validation=0, test=0)
        assert tags_of(data) == [set(row) for row in LISTS]
        frame["tags"] = ["|".join(row) for row in LISTS]
        data = kzoo.from_frame(frame, target="tags", task="tagging", separator="|", validation=0, test=0)
        assert tags_of(data) == [set(row) for row in LISTS]

    def test_fsd50k(self, sounds):
        dev = write(
            sounds / "dev.csv", "fname,labels,mids,split", '0,"Bark,Dog",a,train', "1,Dog,b,val", '2,"Cat,Bark",c,train'
        )
        test = write(sounds / "eval.csv", "fname,labels,mids", '3,"Dog,Cat",a', "4,Cat,b", "5,Bark,c").removeprefix(
            "table:"
        )
        columns = {"input": "fname", "target": "labels", "split": "split"}
        options = {"task": "tagging", "separator": ",", "seconds": 0.1, "group": None}
        data = kzoo.load_dataset(dev, test=test, **columns, **options)
        assert data.class_names == ("Bark", "Cat", "Dog")
        assert [tags_of(data, split) for split in data.examples] == [
            [{"Bark", "Dog"}, {"Cat", "Bark"}],
            [{"Dog"}],
            [{"Dog", "Cat"}, {"Cat"}, {"Bark"}],
        ]
        np.testing.assert_allclose(data.examples["test"].inputs[:][:, 400] / 32768, [0.4, 0.5, 0.6], atol=1e-3)
        write(sounds / "dev.csv", "fname,labels,mids,split", "0,Dog,a,train", "1,Cat,b,test")
        with pytest.raises(ValueError, match="column split of dev.csv says test, and test= is another table"):
            kzoo.load_dataset(dev, test=test, **columns, **options)

    def test_audioset(self, sounds):
        head = ("# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=3, num_segs=3, num_unique_labels=2")
        rows = (
            '0, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
            '1, 0.000, 10.000, "/m/09x0r"',
            '2, 0.000, 10.000, "/t/dd00088"',
        )
        name = write(sounds / "segments.csv", *head, "# YTID, start_seconds, end_seconds, positive_labels", *rows)
        columns = {"input": "YTID", "target": "positive_labels"}
        data = kzoo.load_dataset(name, **columns, task="tagging", separator=",", seconds=0.1, validation=0, test=0)
        assert tags_of(data) == [{"/m/09x0r", "/t/dd00088"}, {"/m/09x0r"}, {"/t/dd00088"}]
        write(sounds / "segments.csv", *head, "# YTID, positive_labels", '1, "a,b"', '7, "a"')
        with pytest.raises(ValueError, match=r"1 of 2 files are not in .*: 7 \(line 5\)"):
            kzoo.load_dataset(name, **columns, task="tagging", separator=",", root=str(sounds))


def test_an_npz_file(tmp_path):
    np.savez(tmp_path / "tags.npz", x_train=SERIES, y_train=ROWS, class_names=["a", "b", "c"])
    name = f"npz:{tmp_path / 'tags.npz'}"
    data = kzoo.load_dataset(name, task="tagging", validation=0, test=0)
    assert (data.task.key, data.class_names) == ("tagging", ("a", "b", "c"))
    np.testing.assert_array_equal(data.examples["train"].labels, ROWS)
    with pytest.raises(ValueError, match="for several say task='tagging'"):
        kzoo.load_dataset(name)


class TestLines:
    def test_lines_of_fasttext_with_several_labels(self, tmp_path):
        path = tmp_path / "songs.txt"
        lines = [
            "__label__rock __label__live  loud and  long",
            "no tags here",
            "__label__pop short",
            "__label__live",
        ] * 10
        path.write_text("\n".join(lines))
        with pytest.warns(UserWarning, match="10 of 40 texts"):
            data = kzoo.load_dataset(f"labelled:{path}", task="tagging", validation=0, test=0)
        assert tags_of(data)[:4] == [{"rock", "live"}, set(), {"pop"}, {"live"}]
        assert data.examples["train"].inputs[:3].tolist() == ["loud and  long", "no tags here", "short"]
        with pytest.raises(ValueError, match="line 1 of .* has several labels.*or say task='tagging'"):
            kzoo.load_dataset(f"labelled:{path}")
        with pytest.raises(ValueError, match="unknown task of labelled lines, 'regression'"):
            kzoo.load_dataset(f"labelled:{path}", task="regression")

    def test_lines_without_tags(self, tmp_path):
        (tmp_path / "songs.txt").write_text("rock loud\npop short\n")
        with pytest.raises(ValueError, match="no line of .* begins with a tag, as __label__rock"):
            kzoo.load_dataset(f"labelled:{tmp_path / 'songs.txt'}", task="tagging")


class Scenes(tfds.core.GeneratorBasedBuilder):
    """Images with any number of classes each."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1)),
            "objects": tfds.features.Sequence(tfds.features.ClassLabel(names=["cat", "dog", "bird"])),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(8), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.full((8, 8, 1), index, "uint8"), "objects": [[0], [1, 2], [], [2, 0]][index % 4]}


@pytest.mark.parametrize("format", ["tfrecord", "array_record"])
def test_a_sequence_of_classes_of_tensorflow_datasets(format, tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sets, "find_builder", lambda *_: Scenes(data_dir=tmp_path, file_format=format))
    monkeypatch.setattr(sets, "prepare", lambda builder, download: builder.download_and_prepare())
    raw = kzoo.dataset_card("mnist").load()  # the name of any dataset
    assert (raw.asked.key, raw.class_names) == ("tagging", ("cat", "dog", "bird"))
    rows = {0: [1, 0, 0], 1: [0, 1, 1], 2: [0, 0, 0], 3: [1, 0, 1]}
    pixels = raw.train.inputs[:][:, 0, 0, 0]
    np.testing.assert_array_equal(raw.train.labels, [rows[pixel % 4] for pixel in pixels])


def test_a_wrong_task_is_said_before_anything_else_that_is_wrong_with_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")  # of numbers that name no files
    with pytest.raises(ValueError, match="unknown task 'regresion'; did you mean regression"):
        kzoo.load_dataset(f"table:{tmp_path / 't.csv'}", task="regresion")
