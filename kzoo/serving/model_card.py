"""Model cards: the page that explains a shared model, with the fields that the Hugging Face Hub reads.

https://huggingface.co/docs/hub/model-cards describes the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kzoo.core.registry import MODELS
from kzoo.core.yaml import to_yaml
from kzoo.data import dataset_card

FILES = {"image": "photo.png", "audio": "recording.wav", "text": "sentences.csv", "timeseries": "series.csv"}
PIPELINES = {  # names of the hub, by task, and of classes and tags by modality
    "segmentation": "image-segmentation",
    "transcription": "automatic-speech-recognition",
    "forecasting": "time-series-forecasting",
    "restoration": "image-to-image",
    "image": "image-classification",
    "audio": "audio-classification",
    "text": "text-classification",
}
SHOWN = 40  # names of classes on the card


def model_card(name: str, content: Mapping) -> str:
    """Return a model card in Markdown.

    Args:
        name: by which others load the model.
        content: of its `config.json`.
    """
    parts = [
        f"---\n{to_yaml(front_matter(name, content))}---\n",
        f"# {title(name)}\n",
        f"{summary(content)}\n",
        usage(name, content),
        results(content),
        training(content),
        limitations(content),
        licences(content),
    ]
    return "\n".join(part for part in parts if part)


def title(name: str) -> str:
    """Return the last part of a name or a path."""
    return Path(name.rstrip("/")).name or name


def front_matter(name: str, content: Mapping) -> dict:
    """Return the fields that the hub reads."""
    fields = {
        "library_name": "kzoo",
        "license": content["terms"]["license"],
        "pipeline_tag": pipeline(content),
        "tags": ["keras", content["architecture"]],
    }
    found = evaluation(name, content)
    return {key: value for key, value in fields.items() if value} | ({"model-index": [found]} if found else {})


def pipeline(content: Mapping) -> str | None:
    """Return the hub's name of a model's task; None where it has none."""
    task = content["task"]["name"]
    return PIPELINES.get(content["modality"] if task in ("classification", "tagging") else task)


def evaluation(name: str, content: Mapping) -> dict | None:
    """Return the score in the form of the hub; None where nothing was measured."""
    metrics = content["metrics"]
    if not metrics:
        return None
    data, score = data_name(content) or "its own", metrics["score"]
    return {
        "name": title(name),
        "results": [
            {
                "task": {"type": pipeline(content) or content["task"]["name"]},
                "dataset": {"name": data, "type": data, "split": metrics["split"]},
                "metrics": [{"type": score, "value": round(metrics[score], 6)}],
            }
        ],
    }


def trained_on(content: Mapping) -> str:
    """Return the dataset that a model was trained on, as its experiment names it; "" if it is not known."""
    return ((content["training"] or {}).get("data") or {}).get("name", "")


def data_name(content: Mapping) -> str | None:
    """Return the name of the dataset, or of its file, without the folders of the author's machine."""
    return Path(trained_on(content).rpartition(":")[2]).name or None


def summary(content: Mapping) -> str:
    """Return in a sentence or two what the model is, and which answers it gives."""
    card, task = MODELS.get(content["architecture"]), content["task"]
    paper = f" ({card.paper.citation}, {card.paper.url})" if card else ""
    size = "x".join("any" if axis is None else str(axis) for axis in content["input_shape"])
    found = f"`{content['architecture']}`{paper} for {task['name'].replace('_', ' ')} of {content['modality']} data"
    names = next((task[key] for key in ("class_names", "tag_names", "columns") if isinstance(task.get(key), list)), [])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    answers = f" It knows {', '.join(map(str, names[:SHOWN]))}{more}." if names else ""
    return f"{found}, input {size}, weights in {content['dtype']}.{answers}"


def usage(name: str, content: Mapping) -> str:
    """Return how the model is used, in Python and on the command line."""
    file = FILES.get(content["modality"], "FILE")
    return (
        "## Use\n\n"
        f'```python\nimport kzoo\n\nmodel = kzoo.load_model("{name}")\nprint(model.predict("{file}"))\n```\n\n'
        f"```sh\nkzoo predict {name} {file}\nkzoo export {name} --out served\n```\n"
    )


def results(content: Mapping) -> str:
    """Return the table of results, and that of the groups, such as speakers."""
    metrics = content["metrics"]
    if not metrics:
        return "## Results\n\nNone were recorded.\n"
    where = f"the {metrics['split']} split of `{data_name(content)}`" if data_name(content) else "its own test data"
    groups = metrics.get("per_group") or {}
    rows = [(group, f"{row[metrics['score']]:.4g}", row["examples"]) for group, row in groups.items()]
    each = "\n" + markdown(("group", metrics["score"].replace("_", " "), "examples"), rows) if rows else ""
    return f"## Results\n\nOn {where}:\n\n{markdown(('metric', 'value'), metrics['table'])}{each}"


def markdown(header, rows) -> str:
    """Return a table in Markdown."""
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in (header, ["---"] * len(header), *rows))


def training(content: Mapping) -> str:
    """Return the experiment as YAML, and what it ran on."""
    if not content["training"]:
        return "## Training\n\nNot recorded.\n"
    found, environment = to_yaml(dict(content["training"])), content["environment"] or {}
    packages = ", ".join(f"{package} {version}" for package, version in environment.get("packages", {}).items())
    where = [f"{environment.get('cores')} cores of {environment.get('processor')}"] if environment else []
    where += environment.get("accelerators", [])
    seen = f"\nTrained on {', '.join(where)}, with {packages}.\n" if environment else ""
    return f"## Training\n\n`kzoo train` with this file:\n\n```yaml\n{found}```\n{seen}"


def limitations(content: Mapping) -> str:
    """Return what the model cannot do, where it is said."""
    said = content["terms"]["limitations"]
    return f"## Limitations\n\n{said}\n" if said else ""


def licences(content: Mapping) -> str:
    """Return the licences of weights and data."""
    terms = content["terms"]
    said = {"Weights": terms["license"], "Data": terms["data_license"] or source_of(content)}
    return "## Licence\n\n" + "".join(f"- {what}: {licence or 'not stated'}\n" for what, licence in said.items())


def source_of(content: Mapping) -> str | None:
    """Return the source of a dataset that kzoo knows by name; None for others."""
    name = trained_on(content)
    return dataset_card(name).source if name and ":" not in name else None
