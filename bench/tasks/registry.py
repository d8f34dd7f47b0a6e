"""The tasks there are, by name."""

from functools import cache

from bench.tasks.base import Task
from models.registry import Registry

CLASSIFICATION = "classification"
"""The task of a network that says nothing else, and of records from before there was a choice."""

DETECTION = "detection"

TASKS: Registry[type[Task]] = Registry(
    "task",
    {
        CLASSIFICATION: "bench.tasks.classification:Classification",
        DETECTION: "bench.tasks.detection:Detection",
    },
)


@cache
def task_named(name: str) -> Task:
    """Return the task called `name`. Raises BenchError when there is none."""
    return TASKS.get(name)()
