"""Which trainings several processes may share."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.training.run import TrainingTask, check_shareable
from methods.individual import Individual
from models.errors import BenchError
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec


def task(**qat: Any) -> TrainingTask:
    """Return as much of a task of two processes as is looked at."""
    method = Individual(qat=QatSpec(**qat))
    cell = SimpleNamespace(spec=QuantSpec(4, 4))
    made = SimpleNamespace(method=method, cell=cell, runtime=SimpleNamespace(processes=2))
    return cast("TrainingTask", made)


def test_a_limit_on_gradients_cannot_be_shared_and_a_range_that_is_not_learned_can() -> None:
    with pytest.raises(BenchError, match=r"qat\.weight_quantizer=step_range would train another"):
        check_shareable(task(weight_quantizer="step_range"))
    check_shareable(task(weight_quantizer="step_range", learned=False))
    check_shareable(task(weight_quantizer="uniform_static"))
    with pytest.raises(BenchError, match=r"qat\.weight_surrogate=ewgs would train another"):
        check_shareable(task(weight_quantizer="uniform_static", weight_surrogate="ewgs"))
    with pytest.raises(BenchError, match=r"qat\.weight_surrogate=uniform_noise would train anoth"):
        check_shareable(task(weight_quantizer="uniform_static", weight_surrogate="uniform_noise"))
