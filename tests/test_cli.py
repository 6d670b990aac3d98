"""The command line: output, exit status, and one clear line for a mistake, before Keras is imported."""

import errno
import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from kzoo import cli

COMMANDS = ("list", "show", "datasets", "train", "evaluate", "export", "predict", "find", "compare", "shift")
COMMANDS += ("compare-classical", "benchmark", "profile", "report", "visualize", "convert", "push", "tune")
DIGITS = "image/resnet8_digits"
QUICK = [
    (["--help"], "list them, train one"),
    (["--version"], "kzoo "),
    (["list"], "25,557,032"),
    (["list", "*resnet*", "--family", "resnetv2"], "resnetv2_50"),
    (["list", "--max-params", "5M", "--max-macs", "300M", "--sort", "top1"], "mobilenetv4_conv_small"),
    (["list", "--modality", "audio", "--task", "tagging", "--sort", "macs"], "cnn14"),
    (["list", "resnet50", "--weights"], "timm/resnet50.a1_in1k"),
    (["show", "resnet50"], "number of residual blocks in each stage"),
    (["datasets"], DIGITS),
    *[([command, "--help"], "Usage") for command in COMMANDS],
]
MISTAKES = [
    (["lits"], "Did you mean"),
    (["list", "nothing*"], "no network matches 'nothing*'"),
    (["list", "--max-params", "5 millions"], "expected a count such as 5M, 300k or 1000, got '5 millions'"),
    (["list", "--max-macs", "0"], "expected a count such as 5M, 300k or 1000, got '0'"),
    (["list", "--modality", "sound"], "unknown modality 'sound'"),
    (["list", "--sort", "size"], "unknown order 'size'; did you mean"),
    (["list", "textcnn", "--weights"], "there are no pretrained weights of these networks"),
    (["show", "resnet5"], "unknown model 'resnet5'; did you mean resnet5"),
    (["show", "resnet18", "--picture", "resnet18.png"], "choose a name ending in .svg"),
    (["train", "image/resnet8_digit"], "there is no config 'image/resnet8_digit'; did you mean"),
    (["train", DIGITS, "train.epohcs=1"], "unknown key 'epohcs' in 'train'; did you mean epochs"),
    (["train", DIGITS, "data.batchsize=1"], "did you mean batch_size"),
    (["train", DIGITS, "model.widht=1"], "unknown hyperparameter of resnet8 'widht'"),
    (["train", DIGITS, "trian.epochs=1"], "unknown section 'trian'; did you mean train"),
    (["train", DIGITS, "train.epochs"], "expected section.key=value, got 'train.epochs'"),
    (["train", DIGITS, "seed.x=1"], "seed is a value, not a section"),
    (["train", DIGITS, "model.name=resnet9"], "unknown model 'resnet9'"),
    (["train", DIGITS, "data.name=digit"], "unknown dataset 'digit'; did you mean digits"),
    (["train", DIGITS, "train.epochs=[1"], "not valid YAML"),
    (["train", DIGITS, "train.epochs=0"], "epochs must be a positive integer, got 0"),
    (["train", DIGITS, "train.optimizer=adamv"], "unknown optimizer 'adamv'; did you mean adam or adamw"),
    (["train", DIGITS, "train.schedule=cosin"], "unknown schedule 'cosin'; did you mean cosine"),
    (["train", DIGITS, "--out", "{other}"], "other holds another training: data.augment"),
    (["evaluate", "nowhere"], "nowhere is not a run directory of kzoo"),
    (["evaluate", "{run}", "--split", "tset"], "unknown split 'tset'; did you mean test"),
    (["evaluate", "{run}", "limit=5"], "'limit=5' is an option of other data, which --data names"),
    (["evaluate", "{run}", "--data", "digit"], "unknown dataset 'digit'; did you mean digits"),
    (["evaluate", "nowhere", "--data", "digits"], "there is no run or export at nowhere"),
    (["evaluate", "{run}", "--data", "digits", "--split", "test"], "--data takes all examples"),
    (["predict", "kzoo/digit", "a.png"], "unknown trained model 'kzoo/digit'"),
    (["evaluate", "kzoo/digit"], "unknown trained model 'kzoo/digit'"),
    (["push", "nowhere", "hf://me/digits"], "nowhere is not a run directory of kzoo"),
    (
        ["push", "{run}", "me/digits"],
        "expected a repository of the Hugging Face Hub as hf://user/name, got 'me/digits'",
    ),
    (["push", "{run}", "hf://me/digits@main"], "leave out @main"),
    (["export", "nowhere"], "nowhere is not a run directory of kzoo"),
    (["export", "{run}", "--format", "onx"], "unknown format 'onx'; did you mean onnx"),
    (["export", "{run}", "--format", "keras", "--out", "model.h5"], "must end in .keras"),
    (["export", "{run}", "--format", "keras", "--out", "{run}/model.keras"], "exists already; choose another path"),
    (["predict", "nowhere", "a.png"], "there is no run or export at nowhere"),
    (["predict", "{other}", "a.png"], "is neither a run directory nor an export of kzoo"),
    (["predict", "{run}", "nowhere.png"], "there is no file nowhere.png"),
    (
        ["predict", "{run}", "nowhere.png", "{notes}", "--json"],
        "2 of 2 files could not be read: there is no file",
    ),
    (["predict", "{run}", "{empty}"], "holds no file that this model reads ("),
    (["predict", "{run}", "{photo}", "--window", "1"], "window and hop are for recordings and series"),
    (["predict", "{run}", "{notes}"], "notes.txt cannot be read as an image"),
    (["find", "image/resnet8_digit"], "there is no config 'image/resnet8_digit'; did you mean"),
    (["find", DIGITS, "--out", "rate.xyz"], "a picture cannot be written as rate.xyz"),
    (["tune", DIGITS], "image/resnet8_digits has no section tune"),
    (["compare", "{run}", "nowhere"], "nowhere is not a run directory of kzoo"),
    (["compare", "{run}", "{run}", "--out", "compare.xyz"], "a picture cannot be written as compare.xyz"),
    (["shift", "nowhere"], "nowhere is not a run directory of kzoo"),
    (["shift", "{run}", "--out", "shift.xyz"], "a picture cannot be written as shift.xyz"),
    (["shift", "{run}", "--split", "tset"], "unknown split 'tset'; did you mean test"),
    (["visualize", "nowhere"], "nowhere is not a run directory of kzoo"),
    (["compare-classical", "digit"], "unknown dataset 'digit'; did you mean digits"),
    (["profile", "resnet5"], "unknown model 'resnet5'; did you mean resnet5"),
    (["profile", "resnet50", "--input", "224x224x3"], "expected integers with commas between them"),
    (["profile", "resnet50", "--json", "--csv", "layers.csv"], "choose one of them"),
    (["profile", "resnet50", "--picture", "layers.xyz"], "a picture cannot be written as layers.xyz"),
    (["benchmark", "resnet5"], "unknown model 'resnet5'; did you mean resnet5"),
    (["benchmark", "resnet50", "--precision", "flaot32"], "unknown precision 'flaot32'; did you mean float32"),
    (["report", "nowhere"], "nowhere is not a run"),
    (["listen", "nowhere", "a.wav"], "nowhere is not a run directory of kzoo"),
    (["listen", "{run}", "a.wav"], "only recordings are streamed, not what ImagePreprocess takes"),
    (["export", "{run}", "--streaming", "--format", "keras"], "unknown format of a stream 'keras'; did you mean"),
]
# Run many command lines in one process; tell of each the status, the output and the frameworks that are imported.
PROGRAM = """
import contextlib, io, json, sys
from kzoo.cli import main

found = []
for arguments in json.load(sys.stdin):
    sys.argv, out, err = ["kzoo", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main() or 0
        except SystemExit as end:
            status = end.code
    imported = [name for name in ("keras", "tensorflow", "jax", "torch") if name in sys.modules]
    found.append([status, out.getvalue(), err.getvalue(), imported])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A run whose model is never loaded, the beginning of another training, an image, and a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").mkdir()
    for name in ("model.keras", "examples.npz"):
        (folder / "run" / name).touch()
    preprocess = {"image_size": [8, 8], "channels": 1, "mean": [0.0], "std": [1.0]}
    description = {"modality": "image", "class_names": ["a", "b"], "preprocess": preprocess}
    (folder / "run" / "data.json").write_text(json.dumps(description))
    (folder / "other").mkdir()
    (folder / "other" / "config.yaml").write_text("data: {name: mnist}\n")
    (folder / "notes.txt").write_text("no image")
    Image.new("L", (8, 8)).save(folder / "photo.png")
    (folder / "empty" / ".hidden").mkdir(parents=True)
    shutil.copy(folder / "photo.png", folder / "empty" / ".hidden")
    names = {"run": "run", "other": "other", "empty": "empty", "notes": "notes.txt", "photo": "photo.png"}
    return {key: str(folder / name) for key, name in names.items()}


@pytest.fixture(scope="module")
def answers(files):
    """Return the answer to each quick command line and each mistake, all from one process without Keras."""
    lines = [arguments for arguments, _ in QUICK + MISTAKES]
    given = json.dumps([[part.format(**files) for part in line] for line in lines])
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return {str(line): answer for line, answer in zip(lines, json.loads(result.stdout), strict=True)}


@pytest.mark.parametrize("arguments, shown", QUICK)
def test_quick_commands(arguments, shown, answers):
    status, out, err, imported = answers[str(arguments)]
    assert (status, err, imported) == (0, "", [])
    assert shown in out


@pytest.mark.parametrize("arguments, message", MISTAKES)
def test_mistakes_end_with_status_2_and_one_line_before_keras_is_imported(arguments, message, answers):
    status, _, err, imported = answers[str(arguments)]
    assert (status, imported) == (2, [])
    assert message in err
    assert "Usage" in err or err.count("\n") == 1


def test_a_long_list_is_readable_in_80_columns(capsys, monkeypatch):
    monkeypatch.setattr(cli, "WIDTH", 80)
    for command in (cli.list_, cli.datasets):
        command()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("tf_mobilenetv3_large_minimal_100 ") for line in lines)  # the longest name is whole


def kzoo(*arguments, capsys, monkeypatch) -> str:
    """Run a command line in this process; return its output."""
    monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert end.value.code == 0, err
    return out


def test_show_prints_the_model_card_and_the_bibtex_of_its_paper(capsys, monkeypatch):
    shown = kzoo("show", "resnet18", capsys=capsys, monkeypatch=monkeypatch)
    assert "convention: PyTorch (symmetric padding" in shown
    assert "@inproceedings{he2016deep" in shown


def test_train_evaluate_export_predict(tmp_path, digits, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "kzoo", "train", DIGITS, "train.epochs=2", "model.width=8", "--out", "run"]
    trained = subprocess.run(command, capture_output=True, text=True, check=False)
    assert trained.returncode == 0, trained.stderr
    assert "epoch 2/2" in trained.stdout
    assert "test accuracy" in trained.stdout
    assert "Next: kzoo export run" in trained.stdout
    assert trained.stderr == ""
    assert (tmp_path / "run" / "report.html").exists()

    def run(*arguments):
        return kzoo(*arguments, capsys=capsys, monkeypatch=monkeypatch)

    assert "wrote run/report.html" in run("report", "run")
    shutil.copytree("run", "other")
    assert "wrote compare.png" in run("compare", "run", "other")
    assert json.loads(run("evaluate", "run", "--json"))["examples"] == 360
    assert "on 16 real examples" in run("export", "run", "--out", "served")
    part = digits.examples["test"]
    Image.fromarray(part.inputs[0].squeeze()).save("digit.png")
    answers = [json.loads(run("predict", model, "digit.png", "--json"))[0] for model in ("run", "served")]
    assert answers[0]["label"] == answers[1]["label"]
    assert answers[0]["probability"] == pytest.approx(answers[1]["probability"], abs=1e-5)
    assert re.search(r"digit.png +\d +\d+\.\d %", run("predict", "served", "digit.png"))
    monkeypatch.setattr(sys, "argv", ["kzoo", "predict", "run", "nowhere.png", "digit.png"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    out, err = capsys.readouterr()
    assert err == "kzoo: 1 of 2 files could not be read: there is no file nowhere.png\n"
    assert re.search(r"nowhere.png +- +there is no file nowhere.png\ndigit.png +\d +\d+\.\d %", out)
    for label in digits.class_names:
        (tmp_path / "dark" / label).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(part.inputs[:50], part.labels[:50], strict=True)):
        Image.fromarray(image.squeeze() // 2).save(tmp_path / "dark" / str(label) / f"{number}.png")
    measured = [json.loads(run("evaluate", model, "--data", "folder:dark", "--json")) for model in ("run", "served")]
    assert measured[0]["examples"] == 50
    assert measured[0]["confusion"] == measured[1]["confusion"]


def test_python_m_kzoo_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "kzoo", "show", "resnet5"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_an_error_of_the_operating_system_is_one_line(monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.json")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err == "kzoo: [Errno 28] No space left on device: 'runs/a/metrics.json'\n"
