"""Recordings with their transcripts: tables, manifests, LibriSpeech's tree, texts beside them, file names; yesno."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from kzoo.core.archives import MAX_MEMBER, check_members
from kzoo.core.lazy import np
from kzoo.core.ranges import PositiveInt, SampleRate, Seconds
from kzoo.core.warn import warn_caller
from kzoo.data.audio.files import SUFFIXES, Header, Recordings, check_soundfile, read_audio
from kzoo.data.audio.folder import Clips, rows_by_pattern
from kzoo.data.folders import Listing, Row, files_in, files_with_suffix, path_in, read_bytes, split_of, without_broken
from kzoo.data.splits import RawData, register_dataset
from kzoo.data.table_sets import Others, content_of
from kzoo.data.tables import DELIMITERS, JSON_LINES, Table, read_table
from kzoo.data.targets import targets_as
from kzoo.tasks import Transcription

TEXTS = ("text", "sentence", "transcript", "transcription")  # columns of a table that are looked for
FILES = ("audio_filepath", "file", "path", "audio", "filename", "file_name")
LIBRISPEECH = ".trans.txt"
BESIDE = (".txt", ".lab")  # of the transcript beside a recording


@register_dataset("transcripts:", "audio", "your own files", Transcription)
def transcribed(
    path: str,
    *,
    seconds: Seconds | None = None,
    sample_rate: SampleRate | None = None,
    tokens: str = "characters",
    case: str = "lower",
    drop: str = "",
    symbols: Sequence[str] | None = None,
    file: str | None = None,
    text: str | None = None,
    split: str | None = None,
    speaker: str | None = None,
    root: str | None = None,
    pattern: str | None = None,
    words: Mapping[str, str] | None = None,
    test_rule: str | None = None,
    validation_rule: str | None = None,
    skip_longer: bool = False,
    skip_broken: bool = False,
    max_bytes: PositiveInt = MAX_MEMBER,
) -> RawData:
    """Recordings with transcripts: a table or manifest, LibriSpeech's tree, texts beside them, or their file names.

    Args:
        path: a table of file names and transcripts (CSV, TSV, or JSON lines as NeMo's manifests); or a folder, or a
            .zip file of it, with LibriSpeech's `*.trans.txt`, or with a .txt or .lab file beside each recording.
            Folders called train, validation and test, or as LibriSpeech's train-clean-100, are the splits.
        seconds: length of a clip; that of the longest recording if not given. Shorter ones are padded with silence.
        sample_rate: of all clips; by default the most common one among the files.
        tokens: "characters", or "words" for a network with an output for each of a few words.
        case: of the transcripts: "lower", "upper", or "keep".
        drop: characters that are left out of the transcripts, such as ",.?!".
        symbols: all characters or words; those of the training transcripts if not given.
        file: of a table, the column of the files; by default audio_filepath, file or path.
        text: the column of the transcripts, by default text or sentence; the field of a `pattern`, by default text.
        split: of a table, a column that says train, validation or test.
        speaker: the column or the field of the speaker, who is in one split alone.
        root: of a table, the folder of the files; its own by default.
        pattern: of file names that are transcripts, such as "{text}.wav", in which `_` stands for a space.
        words: what each word of a file name stands for, such as {"0": "no", "1": "yes"}.
        test_rule: of a pattern, see `audio_folder:`; so is `validation_rule`.
        validation_rule: see `test_rule`.
        skip_longer: leave out recordings that are longer than `seconds`, with a warning; they are refused otherwise.
        skip_broken: leave out files that cannot be read, with a warning; a run lists them in `skipped_files.txt`.
        max_bytes: limit on the size that a file in a .zip file claims to have.

    Raises:
        ValueError: for a missing file, a recording without transcript or longer than `seconds`, an empty transcript,
            or a symbol that no training transcript has; each by the file's name.
    """
    check_soundfile()
    if is_table(path):
        rows = rows_of_table(path, file, text, split, speaker, root)
    elif pattern is not None:
        files = files_with_suffix(path, SUFFIXES, "audio files", max_bytes)
        rules = {"test": test_rule, "validation": validation_rule}
        rows = rows_by_pattern(path, files, pattern, text or "text", speaker or "speaker", rules)
        rows = [row._replace(label=as_words(row.label, words or {})) for row in rows]
    else:
        every = files_in(path)
        if isinstance(every.root, zipfile.ZipFile):
            check_members(every.root, max_bytes)
        rows = rows_of_folder(path, every)
    check_transcripts(rows)
    rows, skipped = without_broken(lambda row: read_audio(row.file), rows, skip_broken)
    rows, clips, longer = of_length(rows, seconds, sample_rate, skip_longer)
    raw = with_transcripts(rows, clips, str(path), symbols, tokens=tokens, case=case, drop=drop)
    return raw._replace(skipped=(*skipped, *longer))


@register_dataset("yesno:", "audio", "OpenSLR 1, Apache-2.0; your copy of it", Transcription)
def yesno(path: str, *, sample_rate: SampleRate | None = None) -> RawData:
    """60 recordings of eight Hebrew words each, yes or no, of one speaker, at 8 kHz; every second one is for the test.

    That is the division of lhotse, which k2-fsa/icefall's recipe has: the files in the order of their names, the first,
    third, fifth and so on for training. (https://www.openslr.org/1)

    Args:
        path: the folder, or a .zip file of it, with `waves_yesno/0_1_0_0_1_1_1_0.wav` and so on.
        sample_rate: of all clips; that of the files if not given.

    Raises:
        ValueError: for a missing folder, or files of other names.
    """
    files = files_with_suffix(path, (".wav",), "WAV files")
    rows = sorted(rows_by_pattern(path, files, "{text}.wav", None, "speaker", {}), key=lambda row: row.label)
    rows = [row._replace(split=SECOND[index % 2]) for index, row in enumerate(rows)]
    rows = [row._replace(label=as_words(row.label, HEBREW)) for row in rows]
    rows, clips, _ = of_length(rows, None, sample_rate, False)
    return with_transcripts(rows, clips, path, tuple(HEBREW.values()), tokens="words")


HEBREW = {"0": "no", "1": "yes"}  # what the names of the files say
SECOND = ("train", "test")


def is_table(path: str) -> bool:
    """Return whether a path is that of a table, by its suffix."""
    name = str(path).lower().removesuffix(".gz")
    return name.endswith((*DELIMITERS, *JSON_LINES, ".parquet")) and not Path(path).expanduser().is_dir()


def rows_of_table(
    path: str, file: str | None, text: str | None, split: str | None, speaker: str | None, root: str | None
) -> list[Row]:
    """Return the rows of a table, whose labels are the transcripts.

    Raises:
        ValueError: for an unknown column, files that are missing, or empty cells.
    """
    found = read_table(path)
    column, target = one_of(found, file, FILES, "files"), one_of(found, text, TEXTS, "transcripts")
    others = Others(split, speaker, None)
    content = content_of({"train": found}, column, target, others, Path(root or Path(path).expanduser().parent))
    texts = found.filled(target)
    return [row._replace(label=str(label)) for row, label in zip(content.files(), texts, strict=True)]


def one_of(found: Table, named: str | None, usual: Sequence[str], what: str) -> str:
    """Return the column that the user named, or the first of the usual names that a table has.

    Raises:
        ValueError: for an unknown name, or if there is none of the usual ones.
    """
    if named is not None:
        found.column(named)  # refuses an unknown one
        return named
    known = next((name for name in usual if name in found.columns), None)
    if known is None:
        raise ValueError(
            f"{found.name} has no column {usual[0]!r} of {what}; name it, e.g. {what_option(what)}="
            f"{next(iter(found.columns))!r}"
        )
    return known


def what_option(what: str) -> str:
    """Return the option that names the column of files or of transcripts."""
    return "file" if what == "files" else "text"


def as_words(name: str, words: Mapping[str, str]) -> str:
    """Return the transcript that a file name is."""
    return " ".join(words.get(part, part) for part in name.replace("_", " ").split())


def rows_of_folder(path: str, every: Listing) -> list[Row]:
    """Return the rows of recordings in a folder with transcripts in LibriSpeech's files, or in a file beside each.

    Raises:
        ValueError: if there are no recordings, or naming the first ones without a transcript.
    """
    found, audio = texts_of(every), [name for name in every.names() if name.lower().endswith(tuple(SUFFIXES))]
    if not audio:
        raise ValueError(f"no audio files ({', '.join(sorted(SUFFIXES))}) in {path}")
    lacking = [name for name in audio if stem(name) not in found]
    if lacking:
        how = "a .txt or .lab file beside it, or a line in a file *.trans.txt"
        raise ValueError(
            f"{len(lacking)} of {len(audio)} recordings of {path} have no transcript, e.g. {lacking[0]}; expected "
            f"{how}; if the names are the transcripts, give pattern='{{text}}.wav'"
        )
    unheard = sorted(set(found) - set(map(stem, audio)))
    if unheard:
        warn_caller(f"{len(unheard)} transcripts of {path} have no recording, e.g. {unheard[0]}")
    return [Row(every.root, name, found[stem(name)], split_of_path(name), speaker_of(name, every)) for name in audio]


def stem(name: str) -> str:
    """Return a path without the suffix of its file."""
    return name[: name.rfind(".")]


def texts_of(every: Listing) -> dict[str, str]:
    """Return the transcript of each recording, by its path without suffix."""
    found = {}
    for name in every.names():
        folder = name[: name.rfind("/") + 1]
        if name.endswith(LIBRISPEECH):
            lines = read_text(every, name).splitlines()
            found |= {folder + key: text for key, _, text in (line.partition(" ") for line in lines if line.strip())}
        elif name.lower().endswith(BESIDE) and is_beside(every, name):
            found[stem(name)] = read_text(every, name)
    return found


def is_beside(every: Listing, name: str) -> bool:
    """Return whether a text lies beside a recording of its name."""
    folder, _, file = name.rpartition("/")
    return any(stem(other) == stem(file) for other in every.folders[folder] if other != file)


def read_text(every: Listing, name: str) -> str:
    """Return the content of a text file of a listing; a ValueError says that it is not UTF-8."""
    try:
        return read_bytes(path_in(every.root, name)).decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8") from error


def split_of_path(name: str) -> str:
    """Return the split that a folder of a path is named after, as train-clean-100 is; "train" if none is."""
    folders = [part for folder in name.split("/")[:-1] for part in (folder, folder.split("-")[0])]
    return next(filter(None, map(split_of, folders)), "train")


def speaker_of(name: str, every: Listing) -> str | None:
    """Return the speaker of a recording of LibriSpeech, SPEAKER-CHAPTER-NUMBER; None in another tree."""
    folder, _, file = name.rpartition("/")
    there = any(other.endswith(LIBRISPEECH) for other in every.folders[folder])
    return file.split("-")[0] if there else None


def check_transcripts(rows: Sequence[Row]) -> None:
    """Raise a ValueError that names the first recording with an empty transcript."""
    empty = [row.inside for row in rows if not row.label.strip()]
    if empty:
        raise ValueError(f"{len(empty)} recordings have an empty transcript, e.g. {empty[0]}; leave them out")


def of_length(
    rows: Sequence[Row], seconds: float | None, sample_rate: int | None, skip: bool
) -> tuple[list[Row], Clips, tuple[str, ...]]:
    """Return the rows that are not longer than a clip, how their clips are read, and what is said of longer ones.

    Raises:
        ValueError: naming recordings that are longer, unless they are to be left out; or for clips that are too long.
    """
    clips = Clips.of(rows, 1.0, sample_rate)
    lengths = {row: clips.length(counted(row, clips.headers[row])) / clips.sample_rate for row in rows}
    longest = max(lengths.values()) if seconds is None else seconds
    longer = [f"{row.file} ({lengths[row]:.1f} s)" for row in rows if lengths[row] > longest]
    if longer and not skip:
        raise ValueError(
            f"{len(longer)} of {len(rows)} recordings are longer than seconds={longest:g}, e.g. {longer[0]}; give more "
            "seconds, or skip_longer=True to leave them out"
        )
    if longer:
        warn_caller(f"left out {len(longer)} of {len(rows)} recordings longer than {longest:g} s, e.g. {longer[0]}")
    kept = [row for row in rows if lengths[row] <= longest]
    if not kept:
        raise ValueError(f"no recording is left: all {len(rows)} are longer than seconds={longest:g}")
    return kept, Clips.of(kept, longest, clips.sample_rate), tuple(f"{what} is too long" for what in longer)


def counted(row: Row, header: Header) -> Header:
    """Return the header of a file with its number of samples, which are counted if it does not state them."""
    return header if header.frames else header._replace(frames=len(read_audio(row.file).wave))


def with_transcripts(
    rows: Sequence[Row], clips: Clips, where: str, symbols: Sequence[str] | None = None, **options
) -> RawData:
    """Return a dataset of recordings, whose rows have their transcripts as labels.

    Args:
        rows: of the files.
        clips: how they are read.
        where: the dataset's name, for messages.
        symbols: see `transcribed`.
        **options: of `kzoo.data.targets.transcripts`.

    Raises:
        ValueError: without training recordings, or for a symbol that no training transcript has, by its file.
    """
    parts = {split: [row for row in rows if row.split == split] for split in ("train", "validation", "test")}
    parts = {split: part for split, part in parts.items() if part}
    if "train" not in parts:
        raise ValueError(f"{where} has no recordings to train on: all are of {' and '.join(parts)}")
    texts = {split: [row.label for row in part] for split, part in parts.items()}
    task, targets = targets_as(Transcription.key, texts, symbols, where, **options)
    examples = {split: recordings(part, clips, targets[split]) for split, part in parts.items()}
    for part in examples.values():
        check_symbols(task, part)
    return RawData(*map(examples.get, ("train", "validation", "test")), task.names, task=task)


def recordings(rows: Sequence[Row], clips: Clips, targets: np.ndarray) -> Recordings:
    """Return the recordings of a split, which are decoded when they are needed; warn of those that are changed."""
    clips.warn(rows)
    groups = np.array([row.group for row in rows]) if all(row.group is not None for row in rows) else None
    names = np.array([row.inside for row in rows])
    return Recordings(clips.source(rows), targets, clips.sample_rate, groups=groups, names=names)


def check_symbols(task: Transcription, examples: Recordings) -> None:
    """Raise a ValueError that names the first file with a token that is no symbol."""
    wrong = task.unknown(examples.labels)
    if wrong:
        index, token = wrong
        raise ValueError(
            f"{examples.names[index]} has {token!r}, which is no symbol: no training transcript has it; give all "
            f"symbols (symbols=[...]), or leave it out (drop={token!r})"
        )
