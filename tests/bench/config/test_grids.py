import pytest

from bench.config.grids import (
    jobs_of,
    jobs_of_grids,
    jobs_of_sweep,
    numbers_in,
    with_choices,
    written,
)
from models.errors import BenchError

GRIDS = [
    {"recipe": "release", "method": "real,dsg", "quant": "w4a4,w8a8", "seed": "0,1"},
    {"recipe": "dfq", "method": "dfq", "quant": "w8a8", "seed": "0,1"},
]


def test_the_jobs_of_each_grid_in_order() -> None:
    jobs = jobs_of_grids(GRIDS, ["experiment=table"])
    assert len(jobs) == 2 * 2 * 2 + 2
    assert jobs[0] == ["recipe=release", "method=real", "quant=w4a4", "seed=0", "experiment=table"]
    assert jobs[-1] == ["recipe=dfq", "method=dfq", "quant=w8a8", "seed=1", "experiment=table"]


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        (["method=dfq"], 2),  # a value of one grid: the other is left out
        (["method=real"], 4),
        (["method=real,dfq"], 4 + 2),
        (["quant=w8a8"], 4 + 2),
        (["quant=w4a4"], 4),
        (["seed=7"], 4 + 1),  # a value of no grid: it replaces
        (["seed=0,7"], 8 + 2),
        (["data.limit=5"], 10),  # a key of no grid
        (["method=dfq", "recipe=release"], 0),
    ],
)
def test_what_is_typed_narrows_or_replaces(typed: list[str], count: int) -> None:
    jobs = jobs_of_grids(GRIDS, typed)
    assert len(jobs) == count
    for word in typed:
        if "," not in word:
            assert all(word in job for job in jobs)


def test_the_overrides_of_a_job_come_to_that_job() -> None:
    for job in jobs_of_grids(GRIDS, []):
        assert jobs_of_grids(GRIDS, job) == [job]


def test_a_job_of_two_grids_is_one() -> None:
    assert jobs_of_grids([{"a": "1,2"}, {"a": "2,3"}], []) == [["a=1"], ["a=2"], ["a=3"]]


def test_the_jobs_of_a_sweep() -> None:
    assert jobs_of_sweep([], {"a": "1,2"}, ["b=3"]) == [["a=1", "b=3"], ["a=2", "b=3"]]
    assert jobs_of_sweep([{"a": "1,2"}, {"a": "3"}], {"c": "4"}, ["b=5"]) == [
        ["a=1", "c=4", "b=5"],
        ["a=2", "c=4", "b=5"],
        ["a=3", "c=4", "b=5"],
    ]
    assert jobs_of_sweep([], {"a": "1,2,3"}, ["shard=2/3", "b=3"]) == [["a=2", "b=3"]]


def test_nothing_of_a_file_is_the_null_that_is_typed() -> None:
    assert jobs_of_grids([{"a": None}, {"a": "null,2"}], []) == [["a=null"], ["a=2"]]
    assert jobs_of([], {"a": None}) == [["a=null"]]


def test_lists_of_whole_numbers_are_values() -> None:
    assert jobs_of(["a=[1,4,4],[20]"]) == [["a=[1,4,4]"], ["a=[20]"]]
    assert jobs_of(["a=[1,4]"]) == [["a=[1,4]"]]
    assert jobs_of(["a=[1,x]"]) == [["a=[1,x]"]]


def test_mappings_to_numbers_are_values() -> None:
    assert jobs_of(["a={x:1,y_z:2.5},{x:0}"]) == [["a={x:1,y_z:2.5}"], ["a={x:0}"]]
    assert jobs_of(["a={x: 1, y: 2.50}"]) == [["a={x:1,y:2.5}"]]  # as Hydra writes them
    assert numbers_in("{x:1,y_z:2.5}") == {"x": 1, "y_z": 2.5}
    assert numbers_in("{x:2.50}") is numbers_in("{x:a}") is numbers_in("{}") is None


def test_what_is_typed_for_a_key_of_some_grids_is_for_these() -> None:
    grids = [{"a": "1,2", "b": 3}, {"a": "2,4", "c": 5}]
    assert jobs_of_grids(grids, []) == [
        ["a=1", "b=3"],
        ["a=2", "b=3"],
        ["a=2", "c=5"],
        ["a=4", "c=5"],
    ]
    assert jobs_of_grids(grids, ["a=2", "c=6", "d=7"]) == [
        ["a=2", "b=3", "d=7"],
        ["a=2", "c=6", "d=7"],
    ]
    assert jobs_of_grids(grids, ["a=1", "b=3"]) == [["a=1", "b=3"]]


WORDS = (
    *("1", "0", "-1", "01", "1_0", "0.1", "0.10", "1.0", "1e-06", "1e-3", "1e5", ".5", "5.", "-0"),
    *("a", "a-b", "a.b", "/x/y", "./a", "..", "../a", ".", "a/", "true", "True", "FALSE", "nan"),
    *("-inf", "w4a4", "3d", "a1", "1a", "0x10", "-", "-a", "_x", "null", "NULL", "1.5.2", "1e+16"),
    *("/my images", "/a b/c  d", r"/a\ b", "a ", "/a+b%c", "~/x", "/a:b", "a@b", "1 2", "'a b'"),
)


def test_plain_values_are_read_and_written_as_hydra_does() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    plain = [word for word in WORDS if written(word) is not None]
    for word in plain:
        (override,) = parser.parse_overrides([f"key={word}"])
        assert written(word) == override.get_value_element_as_str()
    assert {"/my images", "/a b/c  d", "/a+b%c"} <= set(plain)
    assert {"1", "-1", "0.1", "1e-06", "a-b", "/x/y", "true", "w4a4", "null"} <= set(plain)
    assert not {"01", "1e-3", "NULL", "nan", "'a b'", "[1]"} & set(plain)


def test_what_cannot_be_read_is_one_line() -> None:
    with pytest.raises(BenchError) as error:
        jobs_of(["method.start=~/x"])
    assert str(error.value).startswith("'method.start=~/x' cannot be read; put quotes around")
    assert "\n" not in str(error.value)


def test_values_of_a_swept_group_come_to_each_of_its_options() -> None:
    typed = ["-m", "method=individual,coquant", "method.schedule.epochs=5", "method.bits=[4,2]"]
    assert with_choices([*typed, "seed=0,1", "data.limit=3", "method.images=8,9"]) == [
        *("-m", "method=individual,coquant"),
        *("method.schedule.epochs=choice(5)", "method.bits=choice([4,2])"),
        *("seed=0,1", "data.limit=3", "method.images=8,9"),
    ]
    one = ["-m", "method=coquant", "method.schedule.epochs=5"]
    assert with_choices(one) == one
    assert with_choices(typed[1:]) == typed[1:]  # no multirun: Hydra says what is wrong


def test_a_float_cell_has_no_part_in_lists_of_values_of_the_quantizer() -> None:
    """Its command is printed where a table has a float row: fp32 knows no budget."""
    grids = [
        {"model": "resnet50", "quant.size_mb": 9.73},
        {"model": "mobilenetv2", "quant.size_mb": "0.95,1.38"},
    ]
    typed = ["model=resnet50", "quant=fp32"]
    assert jobs_of_sweep(grids, {}, typed) == [typed]
    assert jobs_of_sweep(grids, {}, ["quant=fp32"]) == [
        ["model=resnet50", "quant=fp32"],
        ["model=mobilenetv2", "quant=fp32"],
    ]
    params = {"quant.mean_bits": "2,3", "seed": "0,1"}
    assert jobs_of_sweep([], params, ["quant=fp32"]) == [
        ["seed=0", "quant=fp32"],
        ["seed=1", "quant=fp32"],
    ]
