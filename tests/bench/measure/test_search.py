"""A cell whose bits its method searches for: what is recorded, kept, and refused at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.config.schema import Config
from bench.tracking.runs import _log_search
from methods.search.environment import Environment
from models.quantize.bits import ChosenBits
from tests.bench.cells_of import plan, run_cell

MakeConfig = Callable[..., Config]
QUANT = {"w_bits": "mixed", "a_bits": 8, "w_candidates": [2, 3, 4, 8]}
AGENT = {"hidden": 8}


def searching(
    name: str = "haq", quant: dict[str, Any] | None = None, **method: Any
) -> dict[str, Any]:
    few = {"images": 8, "episodes": 4, "random_episodes": 2, "updates": 1, "held_out": 20}
    agents = {"agent": AGENT} if name == "haq" else {"layers": AGENT, "kernels": AGENT}
    return {
        "quant": QUANT | (quant or {"mean_bits": 3}),
        "method": {"name": name, **few, **agents, **method},
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["haq", "autoq"])
def test_the_record_says_bits_costs_and_rewards(
    make_fast: MakeConfig, outputs: Path, name: str
) -> None:
    result = run_cell(make_fast(searching(name))).result
    assert result is not None and result.status == "done", result and result.reason
    assert (result.w_bits, result.bits) == ("mixed", "MP3/A8")
    bits = result.recipe.weight_bits
    assert bits is not None and len(bits) == 22
    assert result.mean_bits is not None and 2 <= result.mean_bits <= 3
    folder = outputs / "cells" / result.id
    said = json.loads((folder / "mixed.json").read_bytes())
    assert said["budget"] == {"mean_bits": 3}
    assert said["size_mb"] == result.size_mb
    assert said["bits"] == bits
    assert [e["episode"] for e in said["episodes"]] == [0, 1, 2, 3]
    best = max(said["episodes"], key=lambda e: e["reward"])
    assert best["mean_bits"] == pytest.approx(result.mean_bits)
    per_channel = ["channel_bits" in layer for layer in said["layers"]]
    assert all(per_channel) if name == "autoq" else not any(per_channel)
    with Image.open(folder / "mixed.png") as plot:
        assert plot.size == (1200, 450)
    assert result.seconds["search"] > 0

    class Run:
        logged: list[dict[str, float]] = []  # noqa: RUF012

        def define_metric(self, *_: Any, **__: Any) -> None: ...

        def log(self, values: dict[str, float]) -> None:
            self.logged.append(values)

    _log_search(Run(), folder / "mixed.json")  # type: ignore[arg-type]
    assert [e["search/reward"] for e in Run.logged[-4:]] == [e["reward"] for e in said["episodes"]]


@pytest.mark.usefixtures("undrawn")
def test_a_killed_search_goes_on_to_the_same_bits(
    make_fast: MakeConfig,
    small: dict[str, Any],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, tried = Environment.top1, list[ChosenBits]()

    def dying(self: Environment, bits: ChosenBits) -> float:
        tried.append(bits)
        if len(tried) == 4:
            raise KeyboardInterrupt
        return real(self, bits)

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "top1", dying)
        with pytest.raises(KeyboardInterrupt):
            run_cell(make_fast(small | searching()))
    (kept,) = (outputs / "cache" / "search").glob("*/agents.pt")
    resumed = run_cell(make_fast(small | searching())).result
    assert resumed is not None and resumed.status == "done"
    assert not kept.exists() and (kept.parent / "found.json").exists()

    def never(self: Environment, bits: ChosenBits) -> float:
        raise AssertionError("it is searched for again")

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "top1", never)
        again = run_cell(make_fast(small | searching() | {"force": True})).result
    assert again is not None and again.recipe.weight_bits == resumed.recipe.weight_bits
    (kept.parent / "found.json").unlink()
    whole = run_cell(make_fast(small | searching() | {"force": True})).result
    assert whole is not None and whole.recipe.weight_bits == resumed.recipe.weight_bits


@pytest.mark.thorough
@pytest.mark.usefixtures("undrawn")
def test_bits_of_activations_and_a_table_of_latencies(
    make_fast: MakeConfig, outputs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "table.npy"
    np.save(path, np.full((22, 8, 8), 0.1) * np.arange(1, 9)[:, None] * np.arange(1, 9))
    limits = {"latency_ms": 40, "activations_mb": 0.12}
    quant = {"a_bits": "mixed", "a_candidates": [4, 8], "sites": "all", "budget": limits}
    quant |= {"latency_table": str(path)}
    config = make_fast(searching(quant=quant, variant="paper"))
    result = run_cell(config).result
    assert result is not None and result.status == "done", result and result.reason
    assert result.bits == "MP40ms/AMP0.12MiB"
    assert result.latency_ms is not None and result.latency_ms <= 40
    assert result.activations_mb is not None and result.activations_mb <= 0.12
    inputs = result.recipe.input_bits
    assert inputs is not None and set(inputs.values()) <= {4, 8} and len(inputs) == 22
    said = json.loads((outputs / "cells" / result.id / "mixed.json").read_bytes())
    assert [layer["input_bits"] for layer in said["layers"]] == list(inputs.values())
    np.save(path, np.full((22, 8, 8), 0.2) * np.arange(1, 9)[:, None] * np.arange(1, 9))
    assert plan(config).id != result.id
    np.save(path, np.ones((21, 8, 8)))
    short = run_cell(make_fast(searching(quant=quant, variant="paper"))).result
    assert short is not None and short.reason is not None
    assert short.reason.endswith("number 22 of 22: it has 21")


@pytest.mark.parametrize(
    ("quant", "method", "said"),
    [
        ({"mean_bits": 1.9}, {}, "quant.mean_bits=1.9 is below the smallest possible"),
        ({"size_mb": 4}, {}, "quant.size_mb=4 leaves nothing to choose"),
        ({"mean_bits": 3}, {"held_out": 5000}, "method haq takes 8 + 5000 + 0 training images"),
    ],
)
def test_what_cannot_be_is_one_line(
    make_fast: MakeConfig, outputs: Path, quant: dict[str, Any], method: dict[str, Any], said: str
) -> None:
    result = run_cell(make_fast(searching(quant=quant, **method))).result
    assert result is not None
    assert result.status == "failed"
    assert result.reason is not None and result.reason.startswith(said)


@pytest.mark.thorough
@pytest.mark.usefixtures("undrawn")
def test_a_short_fine_tuning_is_part_of_the_network(make_fast: MakeConfig) -> None:
    tuned = searching(finetune_steps=2, finetune_images=16, finetune_batch=8, episodes=2)
    result = run_cell(make_fast(tuned)).result
    assert result is not None and result.status == "done", result and result.reason
    assert result.mean_bits is not None and result.mean_bits <= 3
