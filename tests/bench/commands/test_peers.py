"""`bench peers` with tools that are none: what is measured, kept, asked again and refused."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.commands import peers as command
from bench.measure.resources import Resources
from bench.peers import registry
from bench.peers.base import Bits, Tool, Way
from bench.peers.measure import measured
from bench.peers.place import Place, configuration, prepare
from bench.peers.rows import Job, Row, read
from models.errors import BenchError, NotApplicable
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
SMALL = ("data.limit=20", "method.images=4", "tracking=none")


def _same(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    return network


def _eight_only(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    if w_bits != 8:
        raise NotApplicable("it has 8 bits only")
    return _same(network, images, w_bits, a_bits)


def _broken(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    raise KeyError("a node\nof a graph")


OTHER = Tool(
    "other", ("numpy",), ("numpy",), (Way("PTQ", _eight_only), Way("bad", _broken)), "note"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    outputs = f"paths.outputs={tmp_path_factory.mktemp('outputs')}"
    return prepare(configuration([*SMALL, outputs, "runtime.device=cpu"]), Resources())


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.measure._SECONDS", 0.0)


def test_the_place_has_real_images_and_a_network_that_can_be_traced(place: Place) -> None:
    assert place.conditions.model_dump() | {"evaluation": "", "calibration": ""} == {
        "network": "resnet20",
        "data": "mnist5k",
        "images": 20,
        "evaluation": "",
        "calibration_images": 4,
        "calibration": "",
        "seed": 0,
    }
    assert place.calibration.shape == (4, 3, 32, 32)
    torch.fx.symbolic_trace(place.network)


@pytest.mark.thorough
def test_a_way_that_changes_nothing_has_the_bits_of_the_float_network(place: Place) -> None:
    row = measured(OTHER, OTHER.ways[0], Bits(8, 8), place)
    images = place.preprocessing.normalise(
        torch.from_numpy(place.images.pixels(slice(0, 20)).copy())
    )
    right = place.network(images).argmax(1) == torch.tensor(place.images.labels)
    assert row.bitmap is not None
    assert row.bitmap.tolist() == right.tolist()
    assert (row.correct, row.layers, row.low_weights) == (int(right.sum()), 22, 0)
    assert row.weights_percent == 0.0
    assert row.reason is None


def test_what_a_tool_cannot_do_is_a_row_with_its_reason(place: Place) -> None:
    assert measured(OTHER, OTHER.ways[0], Bits(4, 8), place).reason == "it has 8 bits only"
    broken = measured(OTHER, OTHER.ways[1], Bits(8, 8), place)
    assert broken.reason == "failed: KeyError: 'a node\\nof a graph'"
    assert (broken.correct, broken.right) == (None, None)


@pytest.mark.thorough
def test_this_tool_quantizes_every_layer(place: Place) -> None:
    ours = registry.tool("ours")
    row = measured(ours, ours.ways[0], Bits(4, 8), place)
    assert (row.layers, row.low_weights, row.low_inputs) == (22, 22, 22)
    assert row.weights_percent == 100.0
    assert row.correct is not None and row.correct > 15


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, place: Place) -> list[Job]:
    """What the processes of tools were asked for, which measure in this one."""
    jobs_asked: list[Job] = []
    tools = {"float": registry.tool("float"), "ours": registry.tool("ours"), "nncf": OTHER}

    def rows_of(
        name: str, jobs: Sequence[Job], overrides: Sequence[str], log: Path
    ) -> Iterator[Row]:
        ways = {way.name: way for way in tools[name].ways}
        for job in jobs:
            jobs_asked.append(job)
            yield measured(tools[name], ways[job.method], job.bits, place)

    monkeypatch.setattr(command, "rows_of", rows_of)
    monkeypatch.setattr(command, "tool", tools.__getitem__)
    monkeypatch.setattr(command, "NAMES", ("ours", "nncf"))
    monkeypatch.setattr("bench.peers.page.tool", tools.__getitem__)
    monkeypatch.setattr("bench.peers.page.NAMES", ("ours", "nncf"))
    return jobs_asked


@pytest.mark.thorough
def test_what_is_there_is_not_measured_again(
    bench_main: Bench, asked: list[Job], place: Place, tmp_path: Path
) -> None:
    outputs = f"paths.outputs={place.cell.request.config.paths.outputs}"
    line = ("peers", "--bits", "w8a8,w4a8", "--out", tmp_path, *SMALL, outputs)
    done = bench_main(*line, "--only", "nncf")
    assert (done.status, done.err) == (0, "")
    path = tmp_path / "peers_resnet20.csv"
    assert [row.job for row in read(path)] == asked
    assert [(job.method, job.bits.label) for job in asked] == [
        *[("float", "W32A32"), ("PTQ", "W8A8"), ("bad", "W8A8")],
        *[("PTQ", "W4A8"), ("bad", "W4A8")],
    ]
    page = path.with_suffix(".md").read_text()
    assert page in done.out + "\n"
    assert "other PTQ at W4A8: it has 8 bits only" in page
    assert "- other: note" in page
    asked.clear()
    assert bench_main(*line, "--only", "nncf").status == 0
    # What failed is tried again; what the tool cannot do is not.
    assert [(job.method, job.bits.label) for job in asked] == [("bad", "W8A8"), ("bad", "W4A8")]
    other = bench_main(*line, "--only", "nncf", "method.images=5")
    assert other.status == 2
    assert "was measured at calibration_images=4, and calibration_images=5" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "nncff"), "unknown tool 'nncff'"),
        (("--bits", "w1a8"), "--bits w1a8: give such as w8a8,w4a32"),
        (("--bits", "w32a8"), "--bits w32a8: weights in float are what"),
        (("quant=w4a4",), "bench peers takes no 'quant=w4a4': every tool has its own quantizer"),
        (("recipe.x=1",), "bench peers takes no 'recipe.x=1'"),
        pytest.param(
            ("model=fpn_detector", "data=digits_canvas"),
            "fpn_detector does not",
            marks=pytest.mark.thorough,
        ),
        (("method=bit_split",), "unknown method 'bit_split'"),
    ],
)
def test_what_is_refused(bench_main: Bench, words: tuple[str, ...], said: str) -> None:
    done = bench_main("peers", "--only", "ours", *words)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


def test_a_method_that_trains_makes_no_images(bench_main: Bench) -> None:
    done = bench_main("peers", "--only", "ours", "method=dq")
    assert done.status == 2
    assert "makes no calibration images for others; give method=real" in done.err


def test_tools_that_are_not_installed(bench_main: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "nncf" else 1)
    done = bench_main("peers")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: nncf is not installed: run `make bench-peers`, or pip")


@pytest.mark.thorough
def test_the_process_of_a_tool(place: Place, tmp_path: Path) -> None:
    from bench.peers.run import rows_of

    outputs = f"paths.outputs={place.cell.request.config.paths.outputs}"
    log = tmp_path / "logs" / "float.txt"
    (row,) = rows_of("float", [Job("float", "float", Bits(32, 32))], [*SMALL, outputs], log)
    assert (row.tool, row.images) == ("float", 20)
    assert row.correct == measured(OTHER, OTHER.ways[0], Bits(8, 8), place).correct
    assert log.exists()
    with pytest.raises(BenchError, match="unknown model 'resnet21'"):
        list(rows_of("float", [Job("float", "float", Bits(32, 32))], ["model=resnet21"], log))
