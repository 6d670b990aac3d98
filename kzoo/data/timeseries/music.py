"""Piano rolls: which keys sound in the next frame of a piece?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kzoo.core.files import reading, user_path
from kzoo.core.lazy import lazy_import, np
from kzoo.data.splits import RawData, register_dataset
from kzoo.data.timeseries.files import SeriesExamples
from kzoo.tasks import StepTagging

scipy_io = lazy_import("scipy.io")

SPLITS = ("traindata", "validdata", "testdata")
LOWEST, KEYS = 21, 88  # the lowest key of a piano as a MIDI number, and how many there are
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@register_dataset("music:", "timeseries", "N. Boulanger-Lewandowski et al., 2012; your own files", task=StepTagging)
def piano_rolls(path: str) -> RawData:
    """Piano rolls in a .mat file, such as JSB Chorales and Nottingham: the 88 keys of the next frame, as tags.

    The file holds `traindata`, `validdata` and `testdata`, each with pieces of shape (frames, 88) of 0 and 1. Inputs
    are all frames of a piece but its last, targets all but its first; shorter pieces are padded, and NaN stands for
    the targets of padded frames. `normalise="none"` leaves the frames as they are.

    Args:
        path: of the file.

    Raises:
        ValueError: for a file that is missing or damaged, or holds anything else.
    """
    pieces = {name: read_pieces(user_path(path), name) for name in SPLITS}
    length = max(len(piece) for part in pieces.values() for piece in part) - 1
    names = tuple(f"{NOTES[key % 12]}{key // 12 - 1}" for key in range(LOWEST, LOWEST + KEYS))
    return RawData(*(next_frames(part, length) for part in pieces.values()), names, task=StepTagging(names))


def read_pieces(path: Path, name: str) -> list[np.ndarray]:
    """Return the pieces of a split, each (frames, 88)."""
    if path.is_dir() or not path.exists():
        found = sorted(file.name for file in path.glob("*.mat")) if path.is_dir() else []
        raise ValueError(f"there is no file {path}" if not found else f"{path} is a folder; name {' or '.join(found)}")
    with reading(path, " as a .mat file with traindata, validdata and testdata"):
        pieces = [np.asarray(piece, "float32") for piece in scipy_io.loadmat(path)[name].ravel()]
    for number, piece in enumerate(pieces):
        if piece.ndim != 2 or piece.shape[1] != KEYS or len(piece) < 2 or not np.isin(piece, (0, 1)).all():
            raise ValueError(
                f"{path}: piece {number} of {name} has shape {piece.shape}, expected two or more frames of "
                f"{KEYS} keys, each 0 or 1"
            )
    return pieces


def next_frames(pieces: Sequence[np.ndarray], length: int) -> SeriesExamples:
    """Return the frames of pieces but the last, padded to a length, and as targets those that follow them."""
    inputs = np.zeros((len(pieces), length, KEYS), "float32")
    targets = np.full_like(inputs, np.nan)
    for row, piece in enumerate(pieces):
        inputs[row, : len(piece) - 1], targets[row, : len(piece) - 1] = piece[:-1], piece[1:]
    return SeriesExamples(inputs, targets, "pad")
