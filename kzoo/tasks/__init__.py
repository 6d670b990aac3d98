"""Tasks: what is asked of a network, one file and one row of `TASKS` each; see `kzoo.tasks.task.Task`."""

from collections.abc import Mapping

from kzoo.core.arguments import check_arguments
from kzoo.core.registry import TASKS, lookup
from kzoo.tasks.classification import Classification
from kzoo.tasks.forecasting import Forecasting
from kzoo.tasks.regression import Regression
from kzoo.tasks.restoration import Restoration
from kzoo.tasks.segmentation import Segmentation
from kzoo.tasks.steps import StepClassification, StepTagging
from kzoo.tasks.tagging import Tagging
from kzoo.tasks.task import Report, Task
from kzoo.tasks.transcription import Transcription

OWN = (
    Classification,
    Tagging,
    Regression,
    Forecasting,
    StepTagging,
    StepClassification,
    Segmentation,
    Restoration,
    Transcription,
)
TASKS |= {task.key: task for task in OWN}


def task_from(content: Mapping) -> Task:
    """Return the task that `Task.to_dict` described.

    Raises:
        ValueError: for an unknown task, or a field that is missing or of another kind.
    """
    kind = lookup("task", content["name"], TASKS)
    fields = {key: as_tuple(value) for key, value in content.items() if key != "name"}
    return kind(**check_arguments(kind, fields, "task."))


def as_tuple(value):
    """Return a list of JSON as a tuple, at any depth."""
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


def report_from(content: Mapping) -> Report:
    """Return the report that `Report.to_dict` described; one without a task is of classification."""
    return lookup("task", content.get("task", Classification.key), TASKS).reported.from_dict(content)
