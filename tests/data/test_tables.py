"""Tables as datasets: formats, columns, files beside them, splits and groups, and what is said of bad ones."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kzoo

RNG = np.random.default_rng(0)
ROWS = 24


def write(path: Path, header: str, rows, delimiter=",") -> str:
    path.write_text("\n".join([header, *(delimiter.join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def sizes(data) -> dict[str, int]:
    return {split: len(part) for split, part in data.examples.items()}


@pytest.fixture
def folder(tmp_path):
    """Return a folder of images 0.png to 23.png; the class of each is whether its number is odd."""
    (tmp_path / "images").mkdir()
    for number in range(ROWS):
        pixels = RNG.integers(0, 100, (6, 8, 3), dtype="uint8")
        pixels[0, 0] = number
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def numbers_in(examples) -> list[int]:
    return examples.inputs[:, 0, 0, 0].tolist()


class TestFiles:
    @pytest.mark.parametrize("name", ["images/{}.png", "{}.png", "{}"])
    def test_names_of_files_with_and_without_folder_and_suffix(self, folder, name):
        rows = [(name.format(number), "odd" if number % 2 else "even") for number in range(ROWS)]
        data = kzoo.load_dataset(f"table:{write(folder / 'train.csv', 'id_code,diagnosis', rows)}", validation=0.2)
        assert (data.modality, data.class_names, data.input_shape) == ("image", ("even", "odd"), (6, 8, 3))
        for part in data.examples.values():
            assert (np.array(numbers_in(part)) % 2 == part.labels).all()

    def test_another_root_and_size(self, folder, tmp_path):
        (tmp_path / "tables").mkdir()
        path = write(tmp_path / "tables" / "a.tsv", "label\tfile", [(n % 3, f"{n}.png") for n in range(ROWS)], "\t")
        data = kzoo.load_dataset(f"table:{path}", root=str(folder / "images"), image_size=4, validation=0.2)
        assert (data.class_names, data.input_shape) == (("0", "1", "2"), (4, 4, 3))

    def test_a_column_of_splits_and_one_of_groups(self, folder):
        splits = ["Train"] * 16 + ["valid"] * 4 + ["test"] * 4
        rows = [(n, n % 2, split, f"p{n // 3}") for n, split in zip(range(ROWS), splits, strict=True)]
        path = write(folder / "a.csv", "image,level,fold,patient", rows)
        options = {"input": "image", "target": "level", "split": "fold"}
        data = kzoo.load_dataset(f"table:{path}", **options)
        assert {split: numbers_in(part) for split, part in data.examples.items()} == {
            "train": list(range(16)),
            "validation": list(range(16, 20)),
            "test": list(range(20, 24)),
        }
        with pytest.warns(UserWarning, match="1 groups of the train split are in the validation split, too: 'p5'"):
            kzoo.load_dataset(f"table:{path}", **options, group="patient")
        del options["split"]
        with pytest.warns(UserWarning, match="each of the 8 groups is in one split"):
            data = kzoo.load_dataset(f"table:{path}", **options, group="patient", fold=(0, 4), validation=0.25)
        found = [{number // 3 for number in numbers_in(part)} for part in data.examples.values()]
        assert sum(map(len, found)) == 8

    def test_sound_and_series(self, tmp_path):
        soundfile = pytest.importorskip("soundfile")
        for number in range(ROWS):
            soundfile.write(tmp_path / f"{number}.wav", RNG.uniform(-0.1, 0.1, 800), 8000)
            np.save(tmp_path / f"{number}.npy", RNG.normal(size=(5 + number % 2, 2)))
        sound = write(
            tmp_path / "a.csv", "file,speaker,label", [(f"{n}.wav", f"s{n % 4}", n // 12) for n in range(ROWS)]
        )
        with pytest.warns(UserWarning, match="each of the 4 groups"):
            data = kzoo.load_dataset(
                f"table:{sound}", input="file", group="speaker", seconds=0.1, feature="waveform", test=0.25
            )
        assert (data.modality, data.input_shape) == ("audio", (800, 1))
        assert len(set(data.examples["test"].groups)) == 1
        series = write(tmp_path / "b.csv", "file,label", [(f"{n}.npy", n // 12) for n in range(ROWS)])
        data = kzoo.load_dataset(f"table:{series}", unequal="pad", validation=0.2)
        assert (data.modality, data.input_shape) == ("timeseries", (6, 2))

    def test_missing_files_are_named_with_their_rows(self, folder):
        rows = [(f"{n}.png", n % 2) for n in [*range(10), *range(50, 60)]]
        path = write(folder / "a.csv", "file,label", rows)
        expected = r"10 of 20 files are not in .*images: 50.png \(line 12\), .* 54.png \(line 16\) and 5 more"
        with pytest.raises(ValueError, match=expected):
            kzoo.load_dataset(f"table:{path}")
        with pytest.raises(ValueError, match=r"there is no file 90.png in .* or its folders \(line 2\); give root="):
            kzoo.load_dataset(f"table:{write(folder / 'b.csv', 'file,label', [('90.png', 0), ('91.png', 1)])}")


TEXTS = [("good film", "fine story", "pos"), ("bad film", "dull story", "neg")] * 12


class TestTextsAndNumbers:
    def test_every_format_reads_alike(self, tmp_path):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(TEXTS, columns=["title", "body", "label"])
        write(tmp_path / "a.csv", "title;body;label", TEXTS, ";")
        write(tmp_path / "a.tsv", "title\tbody\tlabel", TEXTS, "\t")
        lines = "".join(json.dumps(row) + "\n" for row in frame.to_dict("records"))
        (tmp_path / "a.jsonl").write_text(lines)
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
        frame.to_parquet(tmp_path / "a.parquet")
        options = {"input": ["title", "body"], "target": "label", "validation": 0.2}
        expected = kzoo.from_frame(frame, **options)
        assert expected.examples["train"].inputs[0] in ("good film fine story", "bad film dull story")
        for name in ("a.csv", "a.tsv", "a.jsonl", "b.csv.gz", "a.parquet"):
            data = kzoo.load_dataset(f"table:{tmp_path / name}", **options)
            assert (data.modality, data.class_names) == ("text", ("neg", "pos"))
            assert data.examples["train"].inputs.tolist() == expected.examples["train"].inputs.tolist()
            assert data.examples["test"].labels.tolist() == expected.examples["test"].labels.tolist()

    def test_no_header_and_tables_for_each_split(self, tmp_path):
        train = write(tmp_path / "train.csv", "a b,1", [("c d" if n % 2 else "a b", n % 2) for n in range(20)])
        test = write(tmp_path / "test.csv", "x y,0", [("c d", 1)])
        data = kzoo.load_dataset(f"table:{train}", test=test, header=False, input=0, target=1)
        assert data.examples["test"].inputs.tolist() == ["x y", "c d"]
        assert sizes(data) == {"train": 18, "validation": 3, "test": 2}

    def test_columns_of_numbers_are_a_series(self, tmp_path):
        rows = [(n % 2, *RNG.normal(size=3).round(3), "x") for n in range(ROWS)]
        path = write(tmp_path / "a.csv", "class,t0,t1,t2,remark", rows)
        data = kzoo.load_dataset(f"table:{path}", input="t*", validation=0.2)
        assert (data.modality, data.input_shape) == ("timeseries", (3, 1))

    def test_labels_of_numbers_are_sorted_as_numbers(self, tmp_path):
        path = write(tmp_path / "a.csv", "text,label", [(f"word{n % 3}", (2, 10, 1)[n % 3]) for n in range(ROWS)])
        assert kzoo.load_dataset(f"table:{path}", validation=0.2).class_names == ("1", "2", "10")
        path = write(tmp_path / "b.csv", "text,label", [(f"word{n % 2}", ("01", "1")[n % 2]) for n in range(ROWS)])
        assert kzoo.load_dataset(f"table:{path}", validation=0.2).class_names == ("01", "1")


class TestMistakes:
    @pytest.mark.parametrize(
        "content, options, message",
        [
            ("text,label\na,0\nb,1\n", {"input": "txt"}, "unknown column of a.csv, 'txt'; did you mean text"),
            ("text,label\na,0\nb,1\n", {"target": "lable"}, "unknown column of a.csv, 'lable'; did you mean label"),
            ("text,label\na,0\nb,1\n", {"group": "patient"}, "unknown column of a.csv, 'patient'; did you mean"),
            ("a,b,label\nx,y,0\n", {}, "a.csv has the columns 'a', 'b', 'label'; say which is the input="),
            ("a,b,label\n1,2,0\n1,2,1\n", {"input": "c*"}, r"no column of a.csv matches 'c\*'"),
            (
                "a,b,label\n1,2,0\n1,x,1\n",
                {"input": ["a", "b"]},
                "has 'x' in line 3, column b; expected a number",
            ),
            ("a,b,label\n1,2,0\n1,,1\n", {"input": ["a", "b"]}, "a.csv has no b in line 3"),
            ("text,label\na,0\nb,\nc,1\n", {}, "a.csv has no label in line 3"),
            ("text,label\na,0,1\n", {}, "line 2 of a.csv has 3 cells, the first line has 2"),
            ("text,text\na,0\n", {}, "a.csv has two columns named 'text'"),
            ("text,label\n", {}, "a.csv has no rows below its header; if it has no header, give header=False"),
            ("", {}, "a.csv is empty"),
            ("id,label\n1,0\n2,1\n", {}, "column id of a.csv holds numbers that name no files"),
            ("text,label\na,0\nb,1\n", {"image_size": 8}, "image_size is for image data, but .* is text data"),
            (
                "text,label,part\na,0,train\nb,1,dog\n",
                {"input": "text", "split": "part"},
                "has 'dog' in line 3",
            ),
            ("text,label,part\na,0,test\n", {"input": "text", "split": "part"}, "no row of a.csv is for training"),
            ("text,label\na,0\nb,1\n", {"root": "nowhere"}, "there is no folder nowhere"),
            ("text,label\na,0\nb,1\n", {"headr": 0}, "unknown option of dataset .*'headr'; did you mean header"),
        ],
    )
    def test_are_one_line(self, tmp_path, content, options, message):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(ValueError, match=message) as refused:
            kzoo.load_dataset(f"table:{tmp_path / 'a.csv'}", **options)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400

    def test_files_that_are_no_tables(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file .*a.csv"):
            kzoo.load_dataset(f"table:{tmp_path / 'a.csv'}")
        (tmp_path / "a.xls").write_text("x")
        with pytest.raises(ValueError, match="unknown kind of table, a.xls, '.xls'; did you mean"):
            kzoo.load_dataset(f"table:{tmp_path / 'a.xls'}")
        (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 0}\n{"text": \n')
        with pytest.raises(ValueError, match="line 2 of a.jsonl is not JSON"):
            kzoo.load_dataset(f"table:{tmp_path / 'a.jsonl'}")
        (tmp_path / "a.csv.gz").write_bytes(b"text,label\na,0\n")
        with pytest.raises(ValueError, match="a.csv.gz cannot be read: Not a gzipped file"):
            kzoo.load_dataset(f"table:{tmp_path / 'a.csv.gz'}")

    def test_frames(self):
        with pytest.raises(ValueError, match="unknown column of frame, 'txt'; did you mean text"):
            kzoo.from_frame({"text": ["a", "b"], "label": [0, 1]}, input="txt")
        with pytest.raises(ValueError, match="frame has no rows"):
            kzoo.from_frame({"text": [], "label": []})
        with pytest.raises(ValueError, match="frame has no label in row 1"):
            kzoo.from_frame({"text": ["a", "b", "c"], "label": ["x", None, "y"]})
