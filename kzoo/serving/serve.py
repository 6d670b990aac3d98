"""Prediction with exported models and run directories, by the runtime of the format alone.

`python -m kzoo.serving.serve EXPORT raw.npy answers.npy FORMAT ANSWER` predicts an array; every export is verified by
it.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kzoo.core import pictures
from kzoo.core.extras import missing_package
from kzoo.core.files import check_digests, read_json, reading, writing
from kzoo.core.lazy import keras, np
from kzoo.core.registry import lookup
from kzoo.core.warn import warn_caller
from kzoo.data.folders import warn_of_changes
from kzoo.data.serving import NETWORK_INPUT, network_outputs, preprocess_from, task_in
from kzoo.data.splits import Preprocess
from kzoo.data.windows import Windows
from kzoo.serving.inputs import RawInput, as_batch, find_files, is_table, read_files, windows_for
from kzoo.serving.microcontroller import MODEL
from kzoo.tasks import Task
from kzoo.tasks.task import check_pictures
from kzoo.training import runs
from kzoo.zoo import shared
from kzoo.zoo.weights.files import check_keras_file

SIDECAR = "kzoo.json"
BATCH, BYTES = 32, 2**25  # largest number of examples in a batch, and size of those that wait for one


class Predictor(NamedTuple):
    """A loaded model with its preprocessing: `predict` takes a file, or a batch of raw data.

    Attributes:
        answers: function from a raw batch to the answers of the task, such as probabilities (batch, classes).
        preprocess: from raw data to the network's input; it also reads a raw example from a file.
        task: of the network.
        any_size: whether raw examples may differ in size from those of training.
        model: the network, which takes preprocessed data; None of an export.
    """

    answers: Callable[[np.ndarray], np.ndarray]
    preprocess: Preprocess
    task: Task
    any_size: bool
    model: keras.Model | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each output of the network."""
        return self.task.names

    def predict(
        self,
        raw: str | Path | np.ndarray,
        *,
        window: float | None = None,
        hop: float | None = None,
        text_column: str = "text",
    ) -> Prediction | list[Prediction] | np.ndarray:
        """Return the prediction for one file, or the answers for a raw batch, such as probabilities (batch, classes).

        Args:
            raw: a file; a folder or a table of texts, for a list of predictions; or a batch of raw examples. The
                answers for recordings and series longer than a window are the mean over their windows.
            window: as for `predict_files`; so are `hop` and `text_column`.
            hop: see `window`.
            text_column: see `window`.

        Raises:
            ValueError: for a file that is missing or broken, a window that the model cannot take, or an array that is
                no batch of raw examples, such as a single one, or images of floats.
        """
        if not isinstance(raw, (str, Path)):
            windows = self.windows(window, hop)
            return self.predict_batch(as_batch(raw, self.preprocess, longer=windows is not None), windows)
        found = self.predict_files([raw], window=window, hop=hop, text_column=text_column)
        if os.path.isdir(Path(raw).expanduser()) or is_table(self.preprocess, raw):
            return found
        if found[0].error:
            raise ValueError(found[0].error)
        return found[0]

    def windows(self, window: float | None, hop: float | None) -> Windows | None:
        """Return how longer examples are divided; by default with the overlap of the task."""
        found = windows_for(self.preprocess, window, hop)
        if found is None or hop is not None or not self.task.overlap:
            return found
        return found._replace(hop=max(round(found.length * (1 - self.task.overlap)), 1))

    def predict_batch(self, raw: np.ndarray, windows: Windows | None) -> np.ndarray:
        """Return the answers for a raw batch, the mean over windows where it is longer than one."""
        spans = [] if windows is None else windows.spans(raw.shape[1:])
        if len(spans) < 2:
            return self.answers_of_any_size(raw)
        parts = [np.stack([self.preprocess.sized(windows.part(one, span)) for one in raw]) for span in spans]
        rows = [*map(self.answers, parts)]
        if rows[0].dtype.kind in "ui":  # classes or tokens at positions, which are joined one by one
            return np.stack([self.task.over_windows(each, spans) for each in zip(*rows, strict=True)])
        return self.task.over_windows(rows, spans).astype("float32")

    def answers_of_any_size(self, raw: np.ndarray) -> np.ndarray:
        """Return the answers for a raw batch, which is brought to the size that the model takes."""
        if self.any_size or not len(raw):
            return self.answers(raw)
        parts = [part for one in raw for part in self.divided(0, one, None)]
        rows = self.answers(np.stack([part.raw for part in parts]))
        return np.stack([self.at_own_size(row, part) for row, part in zip(rows, parts, strict=True)])

    def predict_files(
        self,
        files: Sequence[str | Path],
        *,
        window: float | None = None,
        hop: float | None = None,
        text_column: str = "text",
    ) -> list[Prediction]:
        """Ask about files; see `kzoo.predict_files`."""
        windows = self.windows(window, hop)
        sources, answers = [], defaultdict(list)
        paths = find_files(self.preprocess, files)
        for batch in grouped(self.parts(read_files(self.preprocess, paths, text_column), windows, sources)):
            rows = self.answers(np.stack([part.raw for part in batch]))
            for part, row in zip(batch, rows, strict=True):
                answers[part.source].append((part, self.at_own_size(row, part)))
        warn_of_changes((source.file, what) for source in sources for what in source.changes)
        return [answer(source, answers[index], self.task) for index, source in enumerate(sources)]

    def at_own_size(self, row: np.ndarray, part: Part) -> np.ndarray:
        """Return a map of classes at the size of its image, for exports that take images of one size."""
        a_map = part.size is not None and row.shape == part.raw.shape[:2] and row.dtype.kind == "u"
        return self.preprocess.map_back(row, part.size) if a_map else row

    def parts(self, read: Iterable[RawInput], windows: Windows | None, sources: list[RawInput]) -> Iterator[Part]:
        """Yield the windows of examples in the shape that the model takes; append their sources, without the data."""
        texts = []
        for source in read:
            sources.append(source._replace(raw=None))
            if source.error is None:
                yield from self.divided(len(sources) - 1, source.raw, windows)
                if hasattr(self.preprocess, "warn_of_losses"):
                    texts.append(source.raw)
        if texts:
            self.preprocess.warn_of_losses({"given": np.stack(texts)})

    def divided(self, source: int, raw: np.ndarray, windows: Windows | None) -> Iterator[Part]:
        """Yield the windows of one example, or the example as a whole."""
        if windows is None:
            size = raw.shape[:2] if hasattr(self.preprocess, "map_back") else None
            yield Part(source, raw if self.any_size else self.preprocess.sized(raw), size=size)
            return
        for span in windows.spans(raw.shape):
            yield Part(source, self.preprocess.sized(windows.part(raw, span)), span, windows.rate)


class Part(NamedTuple):
    """A raw example as the model takes it, or a window of it.

    Attributes:
        source: index of the example.
        raw: what the model takes.
        span: the steps where the window begins and ends, or rows and columns of a tile; None for a whole example.
        rate: steps per unit of time.
        size: height and width of the whole image; None of other examples.
    """

    source: int
    raw: np.ndarray
    span: tuple[int, int] | None = None
    rate: float = 1
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answer of a network's task for one example.

    Attributes:
        task: of the network.
        answer: as JSON-serialisable values by name: for a classification `label`, the class of highest probability,
            `probability` of that class, and `probabilities`, that of each class by its name, in [0, 1]. Each of them
            is an attribute, too.
    """

    task: Task
    answer: Mapping[str, Any]

    def __getattr__(self, name: str):
        found = vars(self).get("answer", {})
        if name in found:
            return found[name]
        raise AttributeError(f"a prediction has no {name!r}; it has {', '.join(found)}")

    def rows(self) -> list[dict[str, str]]:
        """Return the answer as the rows of a table."""
        return self.task.rows(self.answer)


@dataclass(frozen=True, kw_only=True)
class PredictedWindow(Answered):
    """The prediction for one window of a recording or a series, from `start` to `end` in seconds or in steps."""

    start: float
    end: float

    def to_dict(self) -> dict:
        """Return everything as JSON-serialisable values."""
        return {"start": self.start, "end": self.end, **self.answer}


@dataclass(frozen=True, kw_only=True)
class Prediction(Answered):
    """The prediction for one file.

    Attributes:
        file: its path.
        line: of a row in a table of texts, counted from 1; None for a whole file.
        windows: the predictions for the windows of a file that is longer than one; the answer is their mean.
        error: why the file or the row could not be read, in one line; None if it was.
        array: the answer as the network gives it, such as the class of each pixel; None for an error.
    """

    file: str
    line: int | None = None
    windows: tuple[PredictedWindow, ...] = ()
    error: str | None = None
    array: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict:
        """Return everything but the array as JSON-serialisable values."""
        windows = [window.to_dict() for window in self.windows]
        return {"file": self.file, **self.answer, "line": self.line, "windows": windows, "error": self.error}


def grouped(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield batches of examples of one shape; few examples wait for others of their shape."""
    waiting, size = defaultdict(list), 0
    for part in parts:
        group = waiting[part.raw.shape]
        group.append(part)
        size += part.raw.nbytes
        if size >= BYTES:
            yield from waiting.values()
            waiting.clear()
            size = 0
        elif len(group) == BATCH:
            yield waiting.pop(part.raw.shape)
            size -= BATCH * part.raw.nbytes
    yield from waiting.values()


def answer(source: RawInput, found: Sequence[tuple[Part, np.ndarray]], task: Task) -> Prediction:
    """Return the prediction for a source from the answers for its windows."""
    place = {"task": task, "file": source.file, "line": source.line}
    if source.error is not None:
        return Prediction(answer=task.describe(None), error=source.error, **place)
    found = sorted(found, key=lambda one: one[0].span or ())
    several = len(found) > 1 and np.ndim(found[0][0].span) == 1  # not tiles of an image
    windows = [answered_window(part, row, task) for part, row in found] if several else []
    rows, spans = [row for _, row in found], [part.span or (0, len(row)) for part, row in found]
    whole = task.over_windows(rows, spans)
    described = task.describe(whole) | source.known
    return Prediction(answer=described, windows=tuple(windows), array=whole, **place)


def answered_window(part: Part, row: np.ndarray, task: Task) -> PredictedWindow:
    """Return the prediction for a window."""
    start, end = part.span
    answer = task.describe(task.over_windows([row], [(0, end - start)]))
    return PredictedWindow(task=task, answer=answer, start=start / part.rate, end=end / part.rate)


def sidecar(path: Path) -> Path:
    """Return the path of an export's description: in its directory, or beside its file."""
    return path / SIDECAR if path.is_dir() else path.with_name(f"{path.name}.{SIDECAR}")


def find_description(path: str | Path) -> Path:
    """Return the JSON file that describes a run directory, a shared model or an export; no model is loaded.

    Raises:
        ValueError: if the path is none of them.
    """
    path = shared.find(path)
    if not path.exists():
        raise ValueError(f"there is no run or export at {path}")
    if shared.is_shared(path):
        return path / shared.CONFIG
    if (path / runs.MODEL).exists():
        return runs.find_run(path) / runs.DATA
    if not sidecar(path).is_file():
        raise ValueError(
            f"{path} is neither a run directory nor an export of kzoo: it has no {runs.MODEL} and no {SIDECAR}"
        )
    return sidecar(path)


def load_predictor(path: str | Path) -> Predictor:
    """Load a run directory, a shared model (see `kzoo.save_pretrained`) or an export.

    Raises:
        ValueError: if it is none of them, is damaged, or needs a package that is not installed.
    """
    path = shared.find(path)
    description = find_description(path)
    content = read_json(description)
    check_digests(path, content.get("files", {}))
    if shared.is_shared(path) or (path / runs.MODEL).exists():
        model, serving = runs.load_run(path)
        return predictor_of(model, serving.preprocess, serving.task)
    if "streaming" in content:
        raise ValueError(f"{path} is the step of a stream, which takes its state too; see kzoo.serving.step_export")
    with reading(description):
        preprocess, task = preprocess_from(content), task_in(content)
        any_size = lookup("format", content["format"], LOADERS).any_size
    predict = load_format(path, content["format"])
    return Predictor(lambda raw: predict(taken(preprocess, raw, content), task.answer), preprocess, task, any_size)


def load_format(path: Path, format: str) -> Callable:
    """Return the function of a raw batch and the name of the answers that an export computes.

    Raises:
        ValueError: if it is damaged, or needs a package that is not installed.
    """
    try:
        return LOADERS[format].load(path)
    except ImportError as error:
        raise missing_package(str(path), error.name, "export") from error
    except (OSError, RuntimeError) as error:
        raise ValueError(f"the export {path} cannot be loaded: {shortened(error)}") from error


def predictor_of(model: keras.Model, preprocess: Preprocess, task: Task) -> Predictor:
    """Return the predictor of a Keras model."""
    return Predictor(from_model(model, preprocess, task), preprocess, task, True, model)


def shortened(error: Exception) -> str:
    """Return an error's message as one line of at most 300 characters, which ends at a word."""
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def from_model(model: keras.Model, preprocess: Preprocess, task: Task) -> Callable:
    """Return the function from a raw batch to the answers of a Keras model."""

    def predict(raw):
        outputs = network_outputs(model, preprocess, raw)
        return keras.ops.convert_to_numpy(task.decode(outputs)[task.answer])

    return predict


def from_saved_model(path: Path) -> Callable:
    """Return the prediction of a SavedModel; Keras is not needed for it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda raw, answer: loaded.signatures["serve"](raw=tf.constant(raw))[answer].numpy()


def from_keras(path: Path) -> Callable:
    """Return the prediction of a Keras file."""
    check_keras_file(path)
    model = keras.models.load_model(path)
    return lambda raw, answer: keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(raw), training=False))


def from_onnx(path: Path) -> Callable:
    """Return the prediction of an ONNX file by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    cast = {"tensor(float)": "float32"}.get(given.type)  # pixels, for a network in integers
    return lambda raw, answer: session.run(None, {given.name: raw if cast is None else raw.astype(cast)})[0]


def from_litert(path: Path) -> Callable:
    """Return the prediction of a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    ((name, given),) = runner.get_input_details().items()
    returned = runner.get_output_details()

    def predict(raw, answer):
        ((key, answers),) = runner(**{name: as_integers(raw, given)}).items()
        return as_reals(answers, returned[key])

    return predict


def as_integers(reals: np.ndarray, tensor: Mapping) -> np.ndarray:
    """Return what a LiteRT file takes for real values: integers by its scale, if it takes 8-bit ones."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return reals.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(reals / scale) + zero_point, limits.min, limits.max).astype(tensor["dtype"])


def as_reals(integers: np.ndarray, tensor: Mapping) -> np.ndarray:
    """Return the real values of what a LiteRT file returns, likewise."""
    scale, zero_point = tensor["quantization"]
    return np.float32(scale) * (integers.astype("float32") - zero_point) if scale else integers


def from_c(path: Path) -> Callable:
    """Return the prediction of C sources, by the LiteRT file that they hold, which takes one example at a time."""
    predict = from_litert(path / MODEL)
    return lambda raw, answer: np.concatenate([predict(one[None], answer) for one in raw])


def from_openvino(path: Path) -> Callable:
    """Return the prediction of an OpenVINO model."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bfloat16 where the processor has it
    compiled = openvino.Core().compile_model(str(path / "model.xml"), "CPU", exact)
    return lambda raw, answer: compiled(raw)[0]


class Loader(NamedTuple):
    """How exports in a format are loaded.

    Attributes:
        load: function of a path that returns a function of a batch and the name of the answers.
        any_size: whether it takes raw data of any size.
        strings: whether it takes texts, not token ids.
    """

    load: Callable[[Path], Callable]
    any_size: bool
    strings: bool = False


LOADERS = {
    "saved_model": Loader(from_saved_model, any_size=True, strings=True),
    "keras": Loader(from_keras, any_size=True),
    "onnx": Loader(from_onnx, any_size=False),
    "litert": Loader(from_litert, any_size=False),
    "openvino": Loader(from_openvino, any_size=False),
    "c": Loader(from_c, any_size=False),
}


def takes_raw(preprocess: Preprocess, format: str) -> bool:
    """Return whether exports in a format take raw examples, not token ids of texts."""
    return LOADERS[format].strings or preprocess.raw_dtype != "string"


def taken(preprocess: Preprocess, raw: np.ndarray, description: Mapping) -> np.ndarray:
    """Return a raw batch as the export with a description takes it: raw, or the network's input, such as token ids."""
    inside = description.get("takes") != NETWORK_INPUT and takes_raw(preprocess, description["format"])
    return raw if inside else np.asarray(preprocess(raw))


def load_description(path: str | Path) -> tuple[Preprocess, Task]:
    """Return the preprocessing and the task of a run directory, a shared model or an export; no model is loaded.

    Raises:
        ValueError: if the path is none of them.
    """
    description = find_description(path)
    content = read_json(description)
    with reading(description):
        return preprocess_from(content), task_in(content)


def failures(
    preprocess: Preprocess, task: Task, paths: Sequence[str | Path], text_column: str = "text"
) -> list[Prediction] | None:
    """Return why each of the files cannot be read, or None as soon as one can be; no model is needed."""
    failed = []
    for source in read_files(preprocess, find_files(preprocess, paths), text_column):
        if source.error is None:
            return None
        failed.append(answer(source, (), task))
    return failed


def predict_files(
    path: str | Path,
    files: Sequence[str | Path],
    *,
    window: float | None = None,
    hop: float | None = None,
    text_column: str = "text",
) -> list[Prediction]:
    """Ask a run or an export about files, in the order given; the answers are those of its task.

    A recording or a series that is longer than a window is taken window by window; the last window ends where
    the file ends. Its own answer is the mean over the windows. A series of a model that resamples series of
    any length is taken as a whole unless a window is given.

    Args:
        path: a run directory, a shared model (see `kzoo.save_pretrained`), such as `kzoo/digits`, or an export.
        files: to ask about. A folder stands for the files in it, at any depth, that the model's modality can read,
            without hidden ones. With a model of texts, a .csv or .tsv file is a table with a text in each row.
        window: length of a window, in seconds of a recording or steps of a series; by default, and at most, the
            length that the network takes.
        hop: from the beginning of one window to the next, likewise; by default the length of a window.
        text_column: name of the column of a table that holds the texts.

    Returns:
        A prediction for each file, or each row of a table. That of a file that is missing or broken has no label, but
        an `error`; a warning says how many.

    Raises:
        ValueError: for a model that cannot be loaded, or a window that it cannot take.
    """
    windows_for(load_description(path)[0], window, hop)
    found = load_predictor(path).predict_files(files, window=window, hop=hop, text_column=text_column)
    if any(prediction.error for prediction in found):
        warn_caller(summary_of_errors(found))
    return found


def write_pictures(predictions: Sequence[Prediction], task: Task, folder: Path) -> int:
    """Write the answers for files as PNG files of the names of the files, and a legend; return how many were written.

    Raises:
        ValueError: for a task whose answers are no images, two files of one name, a folder that cannot be written, or
            in which a file of such a name is that kzoo did not write, such as the photo itself.
    """
    check_pictures(task)
    found = [prediction for prediction in predictions if prediction.array is not None]
    names = [f"{Path(prediction.file).stem}.png" for prediction in found]
    written = [*names, *task.legends()]
    twice = next((name for name in written if written.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{written.count(twice)} files would be called {twice} in {folder}; predict one at a time")
    folder = folder.expanduser()
    for name in written:
        pictures.check_ours(folder / name)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, prediction in zip(names, found, strict=True):
            pictures.save_image(task.picture(prediction.array), folder / name)
        for name, figure in task.legends().items():
            pictures.save(figure, folder / name)
    return len(found)


def summary_of_errors(predictions: Sequence[Prediction]) -> str:
    """Return in one line how many files or rows could not be read, and why the first could not."""
    errors = [prediction.error for prediction in predictions if prediction.error]
    what = "rows" if any(prediction.line for prediction in predictions) else "files"
    return f"{len(errors)} of {len(predictions)} {what} could not be read: {errors[0]}"


if __name__ == "__main__":  # in a process that need not know the task, which may be the user's own
    _, _export, _raw, _answers, _format, _answer = sys.argv
    np.save(_answers, load_format(Path(_export), _format)(np.load(_raw, allow_pickle=False), _answer))
