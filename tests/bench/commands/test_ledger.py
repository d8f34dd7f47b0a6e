from collections.abc import Callable
from pathlib import Path

import pytest

import bench.papers.ledger
from bench.cells.result_file import write_result
from bench.cells.store import Store
from tests.bench.conftest import Finished
from tests.bench.papers.examples import long_results

Bench = Callable[..., Finished]


@pytest.mark.thorough
def test_the_ledger(bench_main: Bench, outputs: Path) -> None:
    store = Store(outputs)
    for result in long_results():
        with store.writing(result.id) as folder:
            write_result(folder, result)
    done = bench_main("ledger", f"paths.outputs={outputs}")
    assert (done.status, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    (dsg,) = (line for line in lines if line[:1] == ["dsg"])
    # Float, which its slide has too, real and DSG are reproduced; ZeroQ, which two more of its
    # tables have, is off at W4A4; Integer-Only and ZeroQ at W8A8 are not comparable; DFQ failed.
    assert dsg[2:8] == ["9", "4", "3", "0", "2", "1"]
    (total,) = (line for line in lines if line[:2] == ["all", "papers"])
    assert int(total[2]) > 700


def test_to_a_page(bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.papers.ledger, "table_names", lambda: ("zeroq_w8a8",))
    target = outputs / "ledger.html"
    done = bench_main("ledger", f"paths.outputs={outputs}", "--format", "html", "--out", target)
    assert done.out == f"wrote {target}\n"
    assert "<td>zeroq</td>" in target.read_text()
