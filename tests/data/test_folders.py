"""Class folders as users have them, for every reader that lists files."""

import os
import threading
import warnings
import zipfile

import pytest

from kzoo.data.folders import classes_and_splits, files_in, files_with_suffix, read_each, rows_by_folder, split_of
from kzoo.data.labels import class_indices


def write(root, *names):
    """Write empty files; return the folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def read(root, **options):
    """Return {split: {class: number of files}} of a folder of .x files, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = rows_by_folder(str(root), files_with_suffix(str(root), {".x"}, "files"), **options)
        names, splits = classes_and_splits(rows, options.get("classes"))
    counts = {split: {name: sum(row.label == name for row in part) for name in names} for split, part in splits.items()}
    return counts, [str(warning.message) for warning in caught]


TWO = {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    "train, validation, test",
    [
        ("train", "validation", "test"),
        ("Train", "Valid", "Test"),
        ("TRAINING", "val", "testing"),
        ("training_set", "dev", "test_set"),
        ("trn", "Development", "tst"),
        ("train_images", "val_images", "test-data"),
    ],
)
def test_splits_have_many_spellings(tmp_path, train, validation, test):
    names = [f"{split}/{name}/1.x" for split in (train, validation, test) for name in ("cat", "dog")]
    counts, said = read(write(tmp_path, *names))
    assert counts == {"train": TWO, "validation": TWO, "test": TWO}
    assert said == []


def test_other_names_are_no_splits():
    assert [split_of(name) for name in ("trains", "evaluate", "contest", "value", "tested", "trainer")] == [None] * 6


def test_an_unknown_folder_beside_train_is_named(tmp_path):
    write(tmp_path, *(f"{split}/{name}/1.x" for split in ("train", "test", "extra") for name in ("cat", "dog")))
    counts, said = read(tmp_path)
    assert counts == {"train": TWO, "test": TWO}
    assert any("skipped 'extra' in" in line and "names no split" in line for line in said)
    assert any("skipped 2 files that are in no class folder, e.g. extra/cat/1.x" in line for line in said)


def test_a_class_may_be_called_train(tmp_path):
    counts, said = read(write(tmp_path, "train/1.x", "bus/1.x", "test/1.x"))
    assert counts == {"train": {"bus": 1, "test": 1, "train": 1}}
    assert "'test', 'train' in" in said[0]
    assert "read as a class, beside the classes 'bus'" in said[0]


def test_folders_of_splits_without_classes_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"'test', 'train' of .* are splits, and there are no class folders to train on"
    ):
        read(write(tmp_path / "a", "train/1.x", "test/1.x"))
    with pytest.raises(ValueError, match="'test', 'val' of .* are splits, .*expected .*/train/CLASS/"):
        read(write(tmp_path / "b", "test/cat/1.x", "test/dog/1.x", "val/cat/1.x"))


def test_splits_may_lie_within_the_classes(tmp_path):
    counts, _ = read(
        write(tmp_path, *(f"{name}/{split}/1.x" for split in ("train", "test") for name in ("cat", "dog")))
    )
    assert counts == {"train": TWO, "test": TWO}


def test_classes_of_one_split_are_said_or_refused(tmp_path):
    write(tmp_path, *(f"{split}/{name}/1.x" for split in ("train", "test") for name in ("cat", "dog")))
    write(tmp_path, "train/unsup/1.x")
    counts, said = read(tmp_path)
    assert counts["train"] == TWO | {"unsup": 1}
    assert any("no examples of 'unsup' in test; choose the classes with classes=" in line for line in said)
    write(tmp_path, "test/unknown/1.x")
    with pytest.raises(ValueError, match="no training example of .* has class 'unknown' of test; choose the classes"):
        read(tmp_path)
    assert read(tmp_path, classes=["dog", "cat"]) == ({"train": TWO, "test": TWO}, [])
    with pytest.raises(ValueError, match="unknown class of .* 'cats'; did you mean cat"):
        read(tmp_path, classes=["cats", "dog"])


def test_the_order_of_chosen_classes_is_kept(tmp_path):
    files = files_in(str(write(tmp_path, "cat/1.x", "dog/1.x", "fox/1.x")))
    assert classes_and_splits(rows_by_folder("", files, classes=["fox", "cat"]), ["fox", "cat"])[0] == ("fox", "cat")


def test_classes_without_files_and_of_almost_one_name_are_said(tmp_path):
    write(tmp_path, "cat/1.x", "dog/1.x", "Dog/1.x", "fox/1.y").joinpath("empty").mkdir()
    counts, said = read(tmp_path)
    assert counts == {"train": {"Dog": 1, "cat": 1, "dog": 1}}
    assert any("class folders without a file that is read: 'empty', 'fox'" in line for line in said)
    assert any("names differ by case or leading zeros only: 'Dog', 'dog'" in line for line in said)


def test_folders_of_systems_and_noise_are_no_classes(tmp_path):
    hidden = (
        ".ipynb_checkpoints/1.x",
        "__MACOSX/cat/1.x",
        "@eaDir/1.x",
        "cat/.ipynb_checkpoints/2.x",
        "cat/@eaDir/1.x",
    )
    counts, said = read(write(tmp_path, "cat/1.x", "dog/1.x", "_background_noise_/1.x", *hidden))
    assert counts == {"train": TWO}
    assert len(said) == 1
    assert "_background_noise_ in" in said[0]
    assert "is noise, not a class; mix it in with augment={'background': FOLDER}" in said[0]


def test_symbolic_links_are_followed_and_loops_refused(tmp_path):
    write(tmp_path / "set", "cat/1.x")
    write(tmp_path / "elsewhere", "1.x", "2.x")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "2.x").symlink_to(tmp_path / "elsewhere" / "1.x")
    assert read(tmp_path / "set") == ({"train": {"cat": 2, "dog": 2}}, [])
    (tmp_path / "set" / "cat" / "again").symlink_to(tmp_path / "set")
    with pytest.raises(ValueError, match="cat/again is a symbolic link to a folder above it"):
        read(tmp_path / "set")


def test_pipes_and_broken_links_are_named(tmp_path):
    write(tmp_path, "cat/1.x", "dog/1.x")
    os.mkfifo(tmp_path / "cat" / "pipe.x")
    (tmp_path / "dog" / "gone.x").symlink_to(tmp_path / "nowhere")
    counts, said = read(tmp_path)
    assert counts == {"train": TWO}
    assert "skipped 2 entries that are no files (pipes, devices or broken links), e.g. cat/pipe.x" in said[0]


@pytest.mark.parametrize("outer", ["set", "archive/set"])
def test_outer_folders_are_passed_through(tmp_path, outer):
    write(tmp_path, *(f"{outer}/{split}/{name}/1.x" for split in ("train", "test") for name in ("cat", "dog")))
    assert read(tmp_path)[0] == {"train": TWO, "test": TWO}
    write(tmp_path / "plain", f"{outer}/cat/1.x", f"{outer}/dog/1.x")
    assert read(tmp_path / "plain")[0] == {"train": TWO}
    with pytest.raises(ValueError, match="expected at least 2 class folders .* found cat; the first file is cat/1.x"):
        read(write(tmp_path / "one", "cat/1.x"))


def test_a_zip_file_is_listed_as_its_folder_is(tmp_path):
    names = ["cat/a/2.x", "cat/1.x", "dog/1.x", "cat/10.x", "cat.x/1.x", "dog/.hidden", "__MACOSX/cat/1.x"]
    folder = write(tmp_path / "set", *names)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name)
    listed = list(files_in(str(folder)).names())
    assert listed == ["cat/1.x", "cat/10.x", "cat/a/2.x", "cat.x/1.x", "dog/1.x"]
    assert list(files_in(str(tmp_path / "set.zip")).names()) == listed


def test_listing_and_labels_take_linear_time(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "scandir", lambda folder, scan=os.scandir: calls.append(folder) or scan(folder))
    write(tmp_path, "cat/1.x", "dog/1.x", "stray.x", *(f"cat/{number}.x" for number in range(50)))
    rows = rows_by_folder(str(tmp_path), files_in(str(tmp_path)))
    assert len(calls) == 3
    names = [f"class{number}" for number in range(3000)]
    assert class_indices(names * 100, names)[-1] == 2999  # 0.05 s; looking each label up in a list takes 10 s
    assert len(rows) == 51


def test_files_are_read_a_bounded_number_ahead():
    started, release = [], threading.Event()

    def slow(number):
        started.append(number)
        release.wait(5)
        return number

    results = read_each(slow, range(10_000))
    timer = threading.Timer(0.2, release.set)
    timer.start()
    assert next(results) == 0
    assert len(started) < 200
    results.close()
