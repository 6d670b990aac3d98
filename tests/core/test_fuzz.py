"""Damaged copies of every file that kzoo reads: a ValueError with the file's name, or the right content."""

import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import kzoo
from kzoo.core.files import digests, read_json, write_json
from kzoo.core.yaml import read_yaml
from kzoo.data.serving import Serving
from kzoo.serving.serve import load_predictor
from kzoo.training import checkpoint, runs
from kzoo.training.records import read_record
from kzoo.zoo.weights import save_weights
from kzoo.zoo.weights.files import read_tensors

COPIES = 2000
pytestmark = pytest.mark.slow


def damaged(content: bytes, random: random.Random) -> bytes:
    """Return content with a few bits flipped, cut off, with a range of zeros, or with a part twice."""
    start = random.randrange(len(content))
    end = min(len(content), start + random.choice([1, 4, 16, 64, 1024]))
    kind = random.choice(["flip", "flip", "cut", "zero", "double", "swap"])
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(random.choice([1, 1, 2, 8])):
            changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == "cut":
        return content[:start]
    if kind == "zero":
        return content[:start] + bytes(end - start) + content[end:]
    if kind == "double":
        return content[:end] + content[start:]
    other = random.randrange(len(content))
    return content[:start] + content[other : other + end - start] + content[end:]


VALUES = [None, True, -1, 0, 1e300, float("nan"), "x", "", [], {}, [[]], 10**30]


def swapped(content: bytes, random: random.Random) -> bytes:
    """Return JSON with one value replaced or deleted."""
    whole = json.loads(content)
    places = []

    def collect(value):
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            collect(value[key])

    collect(whole)
    owner, key = random.choice(places)
    if random.random() < 0.2:
        del owner[key]
    else:
        owner[key] = random.choice(VALUES)
    return json.dumps(whole).encode()


def plain(value):
    """Return arrays as bytes, for a comparison of values that were read."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return repr(value)


def outcome(read: Callable) -> tuple[str | None, object]:
    """Return the message of the ValueError that reading ends in, or what was read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return None, plain(read())
    except ValueError as error:
        return str(error), None


def survives(path: Path, read: Callable, same: bool = True, copies: int = COPIES) -> dict[str, int]:
    """Read damaged copies in place of a file; count those that were refused and those that read as the original."""
    original, right = path.read_bytes(), plain(read())
    counts = {"refused": 0, "right": 0}
    try:
        for seed in range(copies):
            source = random.Random(seed)
            change = swapped if path.suffix == ".json" and seed % 2 else damaged
            changed = change(original, source)
            while changed == original:
                changed = change(original, source)
            path.write_bytes(changed)
            said, found = outcome(read)
            if said is None:
                assert found == right or not same, f"copy {seed} reads as something else"
            else:
                assert path.name in said, f"copy {seed}: {said}"
                assert "\n" not in said, f"copy {seed}: {said}"
            counts["right" if said is None else "refused"] += 1
    finally:
        path.write_bytes(original)
    print(path.name, counts)
    return counts


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    """A copy of a run, so that its files can be damaged."""
    return Path(shutil.copytree(run, tmp_path_factory.mktemp("fuzz") / "run"))


def test_data_and_examples(folder):
    def read():
        serving = Serving.load(folder / runs.DATA, folder / runs.EXAMPLES)
        return {"all": serving.to_dict(), "examples": serving.examples}

    for name in (runs.DATA, runs.EXAMPLES):
        assert survives(folder / name, read)["refused"] > COPIES / 2


def test_records(folder):
    record = folder / runs.CHECKPOINTS / runs.TRAINING
    assert survives(record, lambda: read_json(record))["refused"] > COPIES / 2
    for name in (runs.HISTORY, runs.METRICS):
        assert survives(folder / name, lambda: vars(read_record(folder)))["refused"] > COPIES / 2
    survives(folder / runs.CONFIG, lambda: read_yaml(folder / runs.CONFIG), same=False)


def test_config(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_bytes(Path(kzoo.training.experiment.find_config("image/resnet8_digits")).read_bytes())
    survives(config, lambda: kzoo.load_experiment(config), same=False)


def test_weights(tmp_path):
    model = kzoo.create_model("convnet", (8, 8, 1), 3, filters=(4,))
    arrays = {"a/kernel": np.arange(60, dtype="float32").reshape(3, 20), "a/bias": np.ones(20, "float32")}
    save_weights(model, tmp_path / "w.safetensors")
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, fletcher32=True)
    for name in ("w.safetensors", "w.npz", "w.h5"):
        # a file of foreign weights has no checksum, but where its format has one
        survives(tmp_path / name, lambda name=name: read_tensors(tmp_path / name), same=name == "w.npz")


def test_model(folder, tmp_path):
    """Keras reads a model once its zip file, its HDF5 file and its sha256 are right."""
    path = folder / runs.MODEL
    counts = survives(path, lambda: kzoo.load_run(folder)[0].get_config()["name"])
    assert counts["refused"] > COPIES / 2


def test_exports(folder, tmp_path):
    """Native parsers see a file only if it has the sha256 of its description."""
    path = tmp_path / "model.tflite"
    for name in ("model.tflite", "model.onnx"):
        path = tmp_path / name
        path.write_bytes(random.Random(0).randbytes(5000))
        description = json.loads((folder / runs.DATA).read_text())
        kind = {"model.tflite": "litert", "model.onnx": "onnx"}[name]
        write_json(tmp_path / f"{name}.kzoo.json", description | {"format": kind, "files": digests(path)})

        def read(path=path):
            try:
                return load_predictor(path)
            except ValueError as error:
                if "damaged" in str(error):
                    raise
                return "seen by the parser"

        assert survives(path, read)["right"] == 0
    description = tmp_path / "model.onnx.kzoo.json"
    survives(description, lambda: plain(read_json(description)))


def test_checkpoint(tmp_path):
    state = {"weights": np.arange(100, dtype="float32")}
    for step in (10, 20):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(step, state, {"step": step}), keep=2)
    for suffix in (checkpoint.STATE, checkpoint.MANIFEST):
        path = tmp_path / f"{20:09d}{suffix}"
        original = path.read_bytes()
        for seed in range(COPIES):
            path.write_bytes(damaged(original, random.Random(seed)))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found = checkpoint.newest(tmp_path)
            assert found.step == 20 or (found.step == 10 and "checkpoint 20" in str(said[0].message))
            np.testing.assert_array_equal(found.arrays["weights"], state["weights"])
        path.write_bytes(original)
