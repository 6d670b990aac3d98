"""Reading files that a user named: one line with the name, whatever is wrong; pipes, bombs and depth are refused."""

import os
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

import kzoo
from kzoo.core.files import check_digests, digests, read_json, reading, user_path, write_json
from kzoo.core.yaml import parse_yaml
from kzoo.data.audio.files import read_audio
from kzoo.data.image.files import read_image
from kzoo.data.text.files import read_text
from kzoo.data.timeseries.files import read_one
from kzoo.zoo.weights.files import read_tensors


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError(5, "broken"), RecursionError(), AssertionError(), UnicodeError("odd\nlines")]
)
def test_whatever_a_library_raises_names_the_file_in_one_line(error, tmp_path):
    file = tmp_path / "a.bin"
    file.touch()
    with pytest.raises(ValueError, match=r"a.bin cannot be read as a test: \w") as found, reading(file, " as a test"):
        raise error
    assert "\n" not in str(found.value)


def test_a_message_that_names_the_file_is_kept(tmp_path):
    file = tmp_path / "a.bin"
    file.touch()
    with pytest.raises(ValueError) as found, reading(file):
        raise ValueError(f"{file} has two ends")
    assert str(found.value) == f"{file} has two ends"


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody_at_all/x", "a\0b"])
def test_names_that_the_system_does_not_take(name):
    with pytest.raises(ValueError, match="cannot be read: "):
        user_path(name)
    with pytest.raises(ValueError, match="cannot be read: "):
        kzoo.load_experiment(name)


READERS = {
    "a.png": lambda path: read_image(path, 3),
    "a.wav": read_audio,
    "a.txt": lambda path: read_text(path, "utf-8"),
    "a.ts": lambda path: read_one(path, 1),
    "a.npy": lambda path: read_one(path, 1),
    "a.npz": lambda path: kzoo.load_dataset(f"npz:{path}"),
    "a.safetensors": read_tensors,
    "a.h5": read_tensors,
    "a.json": read_json,
    "a.csv": lambda path: kzoo.load_dataset(f"csv:{path}"),
}


@pytest.mark.parametrize("name", READERS)
def test_pipes_are_refused_at_once(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is a pipe or a device, expected a file|no file .*{name}"):
        READERS[name](tmp_path / name)


def test_a_pipe_is_no_config(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ValueError, match="there is no config .*a.yaml"):
        kzoo.load_experiment(tmp_path / "a.yaml")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "text, message",
    [
        (BOMB, "stands for more than 100,000 values"),
        ("a: &a [*a]", "nested"),
        ("[" * 2000 + "]" * 2000, "nested more than 50 levels"),
        ("- " * 2000 + "x", "nested"),
        ("a: 2020-99-99", "not valid YAML"),
        ("x" * 300_000, "more than 262,144 characters"),
    ],
)
def test_yaml_that_is_no_experiment_is_refused_at_once(text, message):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as found:
        parse_yaml(text)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(found.value)


def test_json_with_a_checksum(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": [1, 2.5, None], "y": "ä"})
    assert read_json(path) == {"x": [1, 2.5, None], "y": "ä"}
    path.write_text(path.read_text().replace("2.5", "2.6"))
    with pytest.raises(ValueError, match="a.json cannot be read: it is damaged, or was changed"):
        read_json(path)
    write_json(path, {"x": 1})
    path.write_text(path.read_text().replace("checksum", "Checksum"))
    with pytest.raises(ValueError, match="a.json cannot be read: it is damaged"):
        read_json(path)
    path.write_text('{"x": 1}')  # of an earlier version
    assert read_json(path) == {"x": 1}
    for damaged in ("[1]", "[" * 100_000, "{", "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="a.json cannot be read"):
            read_json(path)


def test_digests_of_a_file_and_of_a_directory(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    for name in ("graph", "variables/data"):
        (folder / name).write_text(name)
    recorded = digests(folder)
    assert list(recorded) == ["graph", "variables/data"]
    moved = folder.rename(tmp_path / "moved")
    check_digests(moved, recorded)
    check_digests(moved / "graph", digests(moved / "graph"))
    (moved / "variables/data").write_text("other")
    with pytest.raises(ValueError, match="variables/data is damaged: its sha256"):
        check_digests(moved, recorded)


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG file that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + bytes(4)
        + b"IDAT"
        + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


def test_an_image_that_claims_too_many_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(png(12_000, 10_000))
    with (
        pytest.warns(Warning, match="decompression bomb"),
        pytest.raises(ValueError, match="12,000 x 10,000 pixels, more than"),
    ):
        read_image(tmp_path / "a.png", 1)
    with pytest.raises(ValueError, match="a.png cannot be read as an image"):
        read_image(tmp_path / "a.png", 1, max_pixels=10**8 * 2)
    (tmp_path / "b.png").write_bytes(png(11, 10))
    with pytest.raises(ValueError, match="more than max_pixels=100"):
        read_image(tmp_path / "b.png", 1, max_pixels=100)


def test_a_member_of_a_zip_file_that_claims_too_much(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        for name in ("cat/0.png", "dog/0.png"):
            archive.writestr(name, bytes(3 * 2**20))
    with pytest.raises(ValueError, match=r"cat/0.png in .*a.zip claims 3,145,728 bytes, packed into "):
        kzoo.load_dataset(f"image_folder:{tmp_path / 'a.zip'}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_STORED) as archive:
        for name in ("cat/0.txt", "dog/0.txt"):
            archive.writestr(name, bytes(2000))
    with pytest.raises(ValueError, match="claims 2,000 bytes, more than max_bytes=1,000; raise that if you trust it"):
        kzoo.load_dataset(f"text_folder:{tmp_path / 'b.zip'}", max_bytes=1000)


def test_arrays_that_are_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(256, dtype="uint8").reshape(4, 8, 8), y=np.zeros(4, int))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:200] + bytes(50) + content[250:])
    with pytest.raises(ValueError, match="a.npz cannot be read as an .npz file"):
        kzoo.load_dataset(f"npz:{tmp_path / 'a.npz'}")


def test_a_failed_command_leaves_no_folder(tmp_path, monkeypatch):
    experiment = kzoo.load_experiment("image/resnet8_digits", ["data.augment.shift=-1", "train.epochs=1"])
    with pytest.raises(ValueError, match="augment.shift"):
        kzoo.run_experiment(experiment, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.txt").touch()
    with pytest.raises(ValueError, match="augment.shift"):
        kzoo.run_experiment(experiment, kept)
    assert (kept / "notes.txt").exists()


def test_settings_of_the_run_itself_are_no_keys_of_an_experiment():
    for key, value in {"run_dir": "x", "verbose": "false"}.items():
        with pytest.raises(ValueError, match=f"train.{key} is set by the command"):
            kzoo.load_experiment("image/resnet8_digits", [f"train.{key}={value}"])
    with pytest.raises(ValueError, match="unknown key 'epoch' in 'train'; did you mean epochs"):
        kzoo.load_experiment("image/resnet8_digits", ["train.epoch=1"])
