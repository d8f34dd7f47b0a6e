"""Small tables of papers with made-up numbers, on the jobs of shipped experiments."""

import functools
from typing import Any

from bench.cells.request import Request
from bench.cells.result import Result
from bench.papers.cells import table_requests
from bench.papers.definition import Definition
from bench.papers.published import Published
from bench.papers.table import paper_table
from bench.tables.table import Table, TableSource
from tests.bench.papers.records import FLOAT_CORRECT, record

LONG, WIDE = "dsg_resnet18", "coquant_cifar10_resnet18"

COLUMNS = {"Method": "row", "No D": "recipe.no_data", "W-bit": "w_bits", "A-bit": "a_bits"}
LONG_DEFINITION = Definition(
    title="A paper & its 50 % table",
    select=[{"paper": "a_paper"}],
    columns=COLUMNS,
    cells={
        "real": {"method": "real", "quant.fold": False},
        "integer_only": {"method": "real", "quant.fold": True},
    },
)
WIDE_DEFINITION = Definition(
    title="Bits",
    select=[{"paper": "another"}],
    columns={"Methods": "row"},
    across="bits",
    heads={"W8A8": "8-bit", "W6A6": "6-bit", "W4A4": "4-bit", "W2A2": "2-bit"},
)


def published(**changes: Any) -> Published:
    """A published number of ResNet-18 at W4A4."""
    known = {
        "paper": "a_paper",
        "table": "Table 1",
        "row": "ZeroQ",
        "model": "resnet18",
        "data": "imagenet",
        "method": "zeroq",
        "w_bits": 4,
        "a_bits": 4,
        "value": 26.04,
        "kind": "paper",
        "source": "A paper, Table 1",
    }
    return Published(**(known | changes))


def long_numbers() -> list[Published]:
    real = {"row": "Real Data", "method": "real", "recipe": {"no_data": False}}
    no_data = {"no_data": True, "no_finetuning": True}
    eight = {"w_bits": 8, "a_bits": 8}
    return [
        published(row="Baseline", method="float", w_bits=32, a_bits=32, value=71.47),
        published(**real, value=31.9),
        published(recipe=no_data, note="perhaps mixed precision_"),
        published(row="DSG <ours>", method="dsg", value=34.53, spread=0.5, recipe=no_data),
        published(
            row="Integer|Only",
            method="integer_only",
            w_bits=6,
            a_bits=6,
            value=67.3,
            recipe={"no_data": False, "no_finetuning": False},
        ),
        published(row="DFQ", method="dfq", **eight, value=69.7, kind="second_hand"),
        published(row="RVQuant", method="rvquant", **eight, value=70.01),
        published(row="ZeroQ", **eight, value=71.43),
        published(row="ZeroQ", w_bits=6, a_bits=6, value=69.0, kind="recalled"),
    ]


def wide_numbers() -> list[Published]:
    values = {
        "individual": (95.1, 95.4, 95.0, 94.1, 100.0),
        "joint": (34.3, 44.7, 56.0, 26.7, 42.6),
        "coquant": (95.2, 95.4, 95.1, 94.1, 100.1),
    }
    shared = {"paper": "another", "model": "resnet18_cifar", "data": "cifar10"}
    numbers = []
    for method, (*top1, delta) in values.items():
        named = {**shared, "method": method, "row": method.title()}
        for bits, value in zip((8, 6, 4, 2), top1, strict=True):
            numbers.append(published(**named, w_bits=bits, a_bits=bits, value=value))
        numbers.append(published(**named, w_bits=None, a_bits=None, metric="delta_b", value=delta))
    return numbers


def find(jobs: list[Request], method: str, bits: int, fold: bool = False) -> list[Request]:
    """Return the jobs of a method at W = A = bits, one a seed."""
    return [
        job
        for job in jobs
        if job.config.method["name"] == method
        and job.config.quant.w_bits == job.config.quant.a_bits == bits
        and job.config.quant.fold == fold
    ]


def long_results() -> list[Result]:
    """Three, two or one seeds of some cells, with every verdict among them."""
    jobs = table_requests(LONG, [])
    asked = [
        (jobs[:1], [FLOAT_CORRECT]),
        (find(jobs, "real", 4), [15_900, 15_950, 15_900]),
        (find(jobs, "zeroq", 4), [12_000, 12_400, 12_200]),
        (find(jobs, "dsg", 4), [17_400, 17_400]),
        (find(jobs, "real", 6, fold=True), [33_000, 33_100, 33_050]),
    ]
    results = [
        record(job, count)
        for place, counts in asked
        for job, count in zip(place, counts, strict=False)
    ]
    failed = find(jobs, "dfq", 8, fold=True)[0]
    few = {"total": 1000, "fp32_top1": 89.3}
    return [
        *results,
        record(find(jobs, "zeroq", 8)[0], 890, **few),
        record(failed, 0, status="failed", reason="broke"),
    ]


def wide_results() -> list[Result]:
    """All seeds of one method, one seed of another, at 94, 93, 92 and 90 % or half of it."""
    jobs = table_requests(WIDE, [], floats=False)
    top1 = {8: 9400, 6: 9300, 4: 9200, 2: 9000}
    whole = [job for job in jobs if job.config.method["name"] == "individual"]
    half = [job for job in jobs if job.config.method["name"] == "joint" and job.config.seed == 0]
    return [
        *(record(job, top1[job.config.quant.a_bits], total=10_000) for job in whole),
        *(record(job, top1[job.config.quant.a_bits] // 2, total=10_000) for job in half),
    ]


@functools.cache
def long_table() -> Table:
    return paper_table(LONG, LONG_DEFINITION, long_numbers(), TableSource(long_results()))


@functools.cache
def wide_table() -> Table:
    return paper_table(WIDE, WIDE_DEFINITION, wide_numbers(), TableSource(wide_results()))
