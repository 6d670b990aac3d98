"""Loading of large datasets: time to the first batch, processor time, memory, time to resume, beside plain pipelines.

    python tests/benchmarks/scale.py            # 1,000 to 50,000 files, about 20 minutes on two cores
    python tests/benchmarks/scale.py --quick    # a twentieth of that
    python tests/benchmarks/scale.py --case 3   # one dataset alone, counted from 0

Times are seconds on the clock and, in brackets, of processor time, after the libraries are imported. Each row is a
process of its own, so that the peak memory is its own. The files are made by the script: JPEGs of smooth noise, WAVs of
one second, rows of text. The pipelines beside kzoo's make the same crops: `tf.data` is what a user of TensorFlow writes
(`decode_and_crop_jpeg`, bilinear resizing), grain decodes with Pillow.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH, STEPS = 64, 20
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
DISTINCT = 200  # files that differ; the others are copies of them


def make_images(folder: Path, count: int, width: int, height: int) -> None:
    """Write JPEG files in two class folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
    pictures = []
    for _ in range(min(count, DISTINCT)):
        image = Image.fromarray(rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), "uint8"))
        path = folder / "made.jpg"
        image.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
        pictures.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        (folder / "ab"[number % 2] / f"{number:07d}.jpg").write_bytes(pictures[number % len(pictures)])


def make_sounds(folder: Path, count: int) -> None:
    """Write WAV files of one second in two class folders."""
    import soundfile

    rng = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
    for number in range(count):
        wave = (rng.normal(0, 0.1, 16000)).astype("float32")
        soundfile.write(folder / "ab"[number % 2] / f"{number:06d}.wav", wave, 16000)


def make_table(folder: Path, count: int) -> None:
    """Write a table of texts with two classes."""
    folder.mkdir(parents=True)
    words = [f"word{number}" for number in range(5000)]
    rng = np.random.default_rng(0)
    with (folder / "train.csv").open("w") as file:
        file.write("text,label\n")
        for number in range(count):
            file.write(f"{' '.join(words[index] for index in rng.integers(0, 5000, 12))},{'ab'[number % 2]}\n")


MAKE = {"images": make_images, "sounds": make_sounds, "table": make_table}


def kzoo_batches(case: dict):
    """Return a function from a step to the training batches of kzoo from there on."""
    import kzoo

    sources = {"images": f"folder:{case['folder']}", "sounds": f"audio_folder:{case['folder']}"}
    options = {"batch_size": BATCH}
    if case["kind"] == "images":
        crop = {"area": AREA, "aspect": ASPECT}
        options |= {"image_size": case["image_size"], "augment": {"resized_crop": crop}, "cache": None}
    name = sources.get(case["kind"], f"csv:{case['folder']}/train.csv")
    data = kzoo.load_dataset(name, **options)
    return lambda step: data.train_batches(step).as_numpy_iterator(), data.steps_per_epoch


def tf_data_batches(case: dict):
    """Return the same of a plain `tf.data` pipeline."""
    import tensorflow as tf

    files = sorted(str(path) for path in Path(case["folder"]).glob("*/*.jpg"))
    size = case["image_size"]

    def example(path):
        data = tf.io.read_file(path)
        shape = tf.io.extract_jpeg_shape(data)
        start, extent, _ = tf.image.sample_distorted_bounding_box(
            shape, tf.zeros([1, 0, 4]), 0, 0.0, ASPECT, AREA, use_image_if_no_bounding_boxes=True
        )
        window = tf.concat([start[:2], extent[:2]], 0)
        image = tf.io.decode_and_crop_jpeg(data, window, channels=3)
        return (tf.image.resize(image, (size, size)) - 127.0) / 60.0

    def batches(step):
        names = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), seed=0).repeat().skip(step * BATCH)
        made = names.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
        return made.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    return batches, len(files) // BATCH


def grain_batches(case: dict):
    """Return the same of a grain pipeline with Pillow."""
    import grain
    from PIL import Image

    from kzoo.data.image.source import crop_box

    files = sorted(str(path) for path in Path(case["folder"]).glob("*/*.jpg"))
    size = case["image_size"]

    def example(path, generator):
        with Image.open(path) as image:
            top, left, height, width = crop_box(image.size[::-1], generator, AREA, ASPECT)
            box = (left, top, left + width, top + height)
            pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box))
        return (pixels.astype("float32") - 127.0) / 60.0

    def batches(step):
        made = grain.MapDataset.source(files).seed(0).shuffle().repeat().random_map(example).batch(BATCH)
        return iter(made[step:].to_iter_dataset())

    return batches, len(files) // BATCH


PIPELINES = {"kzoo": kzoo_batches, "tf.data": tf_data_batches, "grain": grain_batches}


IMPORTS = {"kzoo": ("tensorflow", "keras", "kzoo"), "tf.data": ("tensorflow",), "grain": ("grain", "PIL.Image")}


def now() -> np.ndarray:
    """Return the time on the clock and the processor time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(pipeline: str, case: dict) -> dict:
    """Measure one pipeline on one dataset in this process."""
    for module in IMPORTS[pipeline]:
        importlib.import_module(module)
    begin = now()
    batches, steps = PIPELINES[pipeline](case)
    iterator = batches(0)
    next(iterator)
    first = now() - begin
    for _ in range(2):
        next(iterator)
    used = time.process_time()
    count = min(STEPS, max(1, steps - 3))
    for _ in range(count):
        next(iterator)
    used = time.process_time() - used
    del iterator
    begin = now()
    next(batches(int(0.9 * steps)))
    return {
        "first": first.tolist(),
        "milliseconds": 1000 * used / count / BATCH,
        "resume": (now() - begin).tolist(),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def cases(scale: int) -> list[dict]:
    """Return the datasets, a fraction `1 / scale` of the full ones."""
    images = [(1000, 96, 96, 96), (10_000, 96, 96, 96), (50_000, 96, 96, 96), (2000, 500, 375, 224)]
    found = [
        {"kind": "images", "count": count // scale, "sizes": (width, height), "image_size": size}
        for count, width, height, size in images
    ]
    return [
        *found,
        {"kind": "sounds", "count": 10_000 // scale, "sizes": ()},
        {"kind": "table", "count": 500_000 // scale, "sizes": ()},
    ]


def in_own_process(pipeline: str, case: dict) -> dict:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--measure", pipeline, json.dumps(case)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **QUIET})
    return json.loads(done.stdout.splitlines()[-1])


QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", type=int, action="append", choices=range(6))
    parser.add_argument("--measure", nargs=2, metavar=("PIPELINE", "CASE"))
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], json.loads(options.measure[1]))))
        return
    heads = ("dataset", "pipeline", "first batch s (CPU)", "CPU ms/example", "resume at 90 % s (CPU)", "peak MB")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    every = cases(20 if options.quick else 1)
    for case in every if options.case is None else [every[number] for number in options.case]:
        with tempfile.TemporaryDirectory() as folder:
            made = case | {"folder": f"{folder}/data"}
            MAKE[case["kind"]](Path(made["folder"]), case["count"], *case["sizes"])
            beside = ("tf.data", "grain") if case["kind"] == "images" else ()
            for pipeline in ("kzoo", *beside):
                if pipeline == "grain" and importlib.util.find_spec("grain") is None:
                    continue
                found = in_own_process(pipeline, made)
                name = f"{case['count']:,} {case['kind']} {'x'.join(map(str, case['sizes']))}"
                first, resume = ("{:.2f} ({:.2f})".format(*found[name]) for name in ("first", "resume"))
                cells = f"{first} | {found['milliseconds']:.2f} | {resume}"
                print(f"| {name} | {pipeline} | {cells} | {found['memory']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
