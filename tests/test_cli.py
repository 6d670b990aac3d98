"""The command line as a user types it: output, status, and one clear line for a mistake."""

import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image


def kzoo(*arguments, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kzoo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--help"], "list them, train one"),
        (["--version"], "kzoo "),
        (["list"], "25,557,032"),
        (["list", "*resnet*", "--family", "resnetv2"], "resnetv2_50"),
        (["show", "resnet50"], "number of residual blocks in each stage"),
        (["datasets"], "image/resnet8_digits"),
        *[([c, "--help"], "Usage") for c in ("list", "show", "datasets", "train", "evaluate", "export", "predict")],
    ],
)
def test_quick_commands(arguments, shown):
    result = kzoo(*arguments)
    assert result.returncode == 0, result.stderr
    assert shown in result.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["lits"], "Did you mean"),
        (["list", "nothing*"], "no network fits 'nothing*'"),
        (["show", "resnet5"], "unknown model 'resnet5'; did you mean resnet5"),
        (
            ["train", "image/resnet8_digit"],
            "there is no config 'image/resnet8_digit'; did you mean",
        ),
        (["train", "image/resnet8_digits", "train.epohcs=1"], "unknown key in 'train' 'epohcs'; did you mean epochs"),
        (["train", "image/resnet8_digits", "data.batchsize=1"], "did you mean batch_size"),
        (["train", "image/resnet8_digits", "model.widht=1"], "unknown hyperparameter of resnet8 'widht'"),
        (["train", "image/resnet8_digits", "trian.epochs=1"], "unknown section 'trian'; did you mean train"),
        (["train", "image/resnet8_digits", "train.epochs"], "expected section.key=value, got 'train.epochs'"),
        (["train", "image/resnet8_digits", "seed.x=1"], "seed is a value, not a section"),
        (["train", "image/resnet8_digits", "model.name=resnet9"], "unknown model 'resnet9'"),
        (["train", "image/resnet8_digits", "data.name=digit"], "unknown dataset 'digit'; did you mean digits"),
        (["train", "image/resnet8_digits", "train.epochs=[1"], "not valid YAML"),
        (["evaluate", "nowhere"], "nowhere is not a run folder of kzoo"),
        (["export", "nowhere"], "nowhere is not a run folder of kzoo"),
        (["predict", "nowhere", "a.png"], "there is no run or export at nowhere"),
        (["shift", "nowhere"], "nowhere is not a run folder of kzoo"),
        (["shift", "nowhere", "--out", "shift.xyz"], "a picture cannot be written as shift.xyz"),
        (["visualize", "nowhere"], "nowhere is not a run folder of kzoo"),
        (["compare-classical", "digit"], "unknown dataset 'digit'; did you mean digits"),
        (["show", "resnet18", "--picture", "resnet18.png"], "choose a name ending in .svg"),
    ],
)
def test_mistakes_end_with_status_2_and_one_line(arguments, message, tmp_path):
    result = kzoo(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if "Usage" not in result.stderr:
        assert result.stderr.count("\n") == 1


def test_train_evaluate_export_predict(tmp_path, digits):
    trained = kzoo("train", "image/resnet8_digits", "train.epochs=2", "model.width=8", "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "epoch 2/2" in trained.stdout
    assert "test accuracy" in trained.stdout
    assert "Next: kzoo export run" in trained.stdout
    assert trained.stderr == ""

    again = kzoo("train", "image/resnet8_digits", "--out", "run", cwd=tmp_path)
    assert (again.returncode, "holds another training: model.width: 8 there" in again.stderr) == (2, True)
    assert (tmp_path / "run" / "report.html").exists()
    assert "wrote run/report.html" in kzoo("report", "run", cwd=tmp_path).stdout
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    compared = kzoo("compare", "run", "other", cwd=tmp_path)
    assert "wrote compare.png" in compared.stdout, compared.stderr

    evaluated = kzoo("evaluate", "run", "--json", cwd=tmp_path)
    assert json.loads(evaluated.stdout)["examples"] == 360

    exported = kzoo("export", "run", "--out", "served", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "on 16 real examples" in exported.stdout

    Image.fromarray(digits.examples["test"].inputs[0].squeeze()).save(tmp_path / "digit.png")
    answers = [json.loads(kzoo("predict", m, "digit.png", "--json", cwd=tmp_path).stdout)[0] for m in ("run", "served")]
    assert answers[0]["label"] == answers[1]["label"]
    assert answers[0]["probability"] == pytest.approx(answers[1]["probability"], abs=1e-5)
    assert "digit.png" in kzoo("predict", "served", "digit.png", cwd=tmp_path).stdout
