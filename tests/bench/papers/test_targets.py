"""What a cell is decided against: of the shipped tables."""

import pytest

from bench.cells.request import Request, experiment_requests, request_of
from bench.config.schema import EvaluateConfig
from bench.papers.targets import published_drops
from bench.papers.verdict import Interval, judge_drop
from bench.statistics.bets import settled
from bench.statistics.drops import Drop
from bench.sweep.published import with_published_drop
from tests.bench.papers.examples import find

NAME = "dsg_resnet18"
JOBS = experiment_requests(NAME)


def resolved(job: Request, **changes: object) -> Request:
    asked = EvaluateConfig.model_validate({"until": "resolved", **changes})
    return request_of(job.config.model_copy(update={"evaluate": asked}), job.overrides)


def test_the_drop_of_the_row_that_a_cell_is_for() -> None:
    # Table 1 of DSG: 71.47 in float, and 26.04 and 31.86 at W4A4.
    for method, top1 in (("zeroq", 26.04), ("real", 31.86)):
        for job in find(JOBS, method, 4)[:2]:
            assert published_drops(job, NAME) == pytest.approx((71.47 - top1,))
    # No row is for it, and no float network is published beside these.
    assert published_drops(find(JOBS, "zeroq", 4)[0].as_float(), NAME) == ()
    uniform = experiment_requests("zeroq_uniform")
    assert published_drops(uniform[0], "zeroq_uniform") == ()


def test_images_and_other_values_of_ones_own_do_not_matter() -> None:
    job = find(JOBS, "zeroq", 4)[0]
    data = job.config.data | {"root": "/images", "limit": 1000}
    own = request_of(job.config.model_copy(update={"data": data}))
    assert published_drops(own, NAME) == pytest.approx((45.43,))
    seed = request_of(job.config.model_copy(update={"seed": 77}))
    assert published_drops(seed, NAME) == pytest.approx((45.43,))


def test_it_is_handed_down_where_it_is_asked_for() -> None:
    job = find(JOBS, "zeroq", 4)[0]
    words = [f"experiment={NAME}", "seed=0"]
    found = with_published_drop(resolved(job), words)
    assert found.config.evaluate.drops == pytest.approx((45.43,))
    assert found.id == job.id
    given = resolved(job, published_drop=3.0)
    assert with_published_drop(given, words) is given
    asked = resolved(job)
    assert with_published_drop(asked, ["seed=0"]) is asked
    assert with_published_drop(asked, ["experiment=demo"]) is asked
    assert with_published_drop(job, words) is job


def test_decided_is_what_has_a_verdict() -> None:
    for low in range(-20, 21, 3):
        for width in (0, 2, 7, 12):
            drop = Drop(low / 10, low / 10, (low + width) / 10)
            verdict = judge_drop(0.05, Interval(*drop), 0.5)
            assert settled(drop, 0.05, 0.5) == (verdict.name != "undecided")
