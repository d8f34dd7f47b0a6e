from collections import Counter
from itertools import product

import pytest

from bench.config.experiments import experiment_jobs
from bench.config.shards import Shard, jobs_of_shard, without_shard
from models.errors import BenchError


def sweep(methods: int, bits: int, seeds: int) -> list[list[str]]:
    return [
        ["experiment=x", f"method=m{m}", f"quant.w_bits={b}", f"seed={s}"]
        for m, b, s in product(range(methods), range(bits), range(seeds))
    ]


def shards(jobs: list[list[str]], count: int) -> list[list[list[str]]]:
    return [jobs_of_shard(jobs, Shard(number, count)) for number in range(1, count + 1)]


def family(job: list[str]) -> tuple[str, ...]:
    return tuple(word for word in job if not word.startswith("quant"))


def test_the_shard_is_taken_out_of_the_words() -> None:
    assert without_shard(["a=1", "shard=1/4", "b=2"]) == (["a=1", "b=2"], Shard(1, 4))
    assert without_shard(["shard='2/4'"]) == ([], Shard(2, 4))
    assert without_shard(["shard=1/4", "shard=3/4"]) == ([], Shard(3, 4))
    assert without_shard(["a=1", "shard=null"]) == (["a=1"], None)
    assert str(Shard(1, 4)) == "1/4"


@pytest.mark.parametrize(
    "text", ["5/4", "0/4", "x", "1", "1/0", "0/0", "-1/4", "1/4,2/4", "", "1/"]
)
def test_no_part_of_a_sweep(text: str) -> None:
    with pytest.raises(BenchError) as error:
        without_shard([f"shard={text}"])
    assert str(error.value) == (
        f"shard={text} is no part of a sweep; give shard=I/N with I from 1 to N, such as shard=1/4"
    )


@pytest.mark.parametrize(
    "shape", [(3, 3, 3), (1, 10, 1), (5, 100, 1), (2, 4, 7), (1, 1, 2), (4, 2, 4)]
)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_disjoint_whole_and_balanced(shape: tuple[int, int, int], count: int) -> None:
    jobs = sweep(*shape)
    parts = shards(jobs, count)
    assert sorted(job for part in parts for job in part) == sorted(jobs)
    assert all(part == [job for job in jobs if job in part] for part in parts)  # in their order
    assert max(map(len, parts)) <= 1.25 * len(jobs) / count + 1
    # Each of the count - 1 cuts divides one family at most.
    pieces = Counter(key for part in parts for key in {family(job) for job in part})
    assert sum(pieces.values()) - len(pieces) <= count - 1


def test_families_stay_whole_where_parts_are_equal() -> None:
    for part in shards(sweep(4, 5, 4), 4):
        assert Counter(map(family, part)) == dict.fromkeys(map(family, part), 5)
        # A round begins one shard further: each shard has each method and each seed.
        assert {job[1] for job in part} == {f"method=m{m}" for m in range(4)}
        assert {job[3] for job in part} == {f"seed={s}" for s in range(4)}


def test_one_family_is_divided() -> None:
    assert [len(part) for part in shards(sweep(1, 10, 1), 4)] == [2, 3, 3, 2]


def test_a_cut_moves_to_the_near_end_of_a_family() -> None:
    # 27 jobs: cuts at 6.75, 13.5 and 20.25 of families of three; within 0.84 of an end are two.
    assert [len(part) for part in shards(sweep(3, 3, 3), 4)] == [6, 8, 7, 6]


def test_other_machines_divide_alike() -> None:
    jobs = sweep(3, 2, 5)
    elsewhere = [["paths.outputs=/b", *reversed(job), "data.root=/c"] for job in reversed(jobs)]
    for number in (1, 2, 3):
        here = jobs_of_shard(jobs, Shard(number, 3))
        there = jobs_of_shard(elsewhere, Shard(number, 3))
        assert {frozenset(job) for job in here} == {
            frozenset(job) - {"paths.outputs=/b", "data.root=/c"} for job in there
        }


def test_recipes_share_images_and_precisions_do_not() -> None:
    shared = [["recipe=a"], ["recipe=b"], ["quant=w4a4"], ["quant.a_range=mse"]]
    others = [["runtime.precision=bf16"], ["runtime.precision=fp32"]]
    jobs = [[*a, *b] for a in others for b in shared]
    assert shards(jobs, 2) == [jobs[:4], jobs[4:]]


def test_more_shards_than_jobs() -> None:
    parts = shards(sweep(1, 1, 2), 5)
    assert sorted(map(len, parts)) == [0, 0, 0, 1, 1]
    assert shards([], 2) == [[], []]


def test_the_cells_of_an_experiment() -> None:
    every = [job.overrides for job in experiment_jobs("demo")]
    parts = [
        [job.overrides for job in experiment_jobs("demo", [f"shard={number}/4"])]
        for number in (1, 2, 3, 4)
    ]
    assert [len(part) for part in parts] == [6, 8, 7, 6]
    assert sorted(job for part in parts for job in part) == sorted(every)
