"""Weights that one cell learns and the next ones find."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bench.cells.result import Result
from bench.config.schema import Config
from models.quantize import network
from models.quantize.rounding.by_block import BlockByBlock
from models.quantize.rounding.weights import round_weights
from tests.bench.cells_of import run_cell

MakeConfig = Callable[..., Config]
Measure = Callable[..., Result]


@pytest.fixture
def measure(make_fast: MakeConfig, small: dict[str, Any]) -> Measure:
    def measured(rounding: str, a_bits: int, **changes: Any) -> Result:
        few = {"rounding": rounding, "rounding_iterations": 3, "rounding_step_iterations": 2}
        quant = {"w_bits": 3, "a_bits": a_bits, "sites": "all"} | few | changes.pop("quant", {})
        result = run_cell(make_fast(small | {"quant": quant} | changes)).result
        assert result is not None
        return result

    return measured


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often weights were learned, a word each."""
    calls: list[str] = []
    by_block = BlockByBlock.weights
    monkeypatch.setattr(
        network, "round_weights", lambda *at: (calls.append("layers"), round_weights(*at))[1]
    )
    monkeypatch.setattr(
        BlockByBlock, "weights", lambda *at: (calls.append("blocks"), by_block(*at))[1]
    )
    return calls


def kept(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("cache/rounded/*/learned.safetensors"))


@pytest.mark.parametrize(("rounding", "word"), [("adaround", "layers"), ("brecq", "blocks")])
def test_they_are_learned_once_for_all_activations(
    measure: Measure, learned: list[str], outputs: Path, tmp_path: Path, rounding: str, word: str
) -> None:
    measure(rounding, 32)
    found = [measure(rounding, bits) for bits in (4, 8)]
    assert learned == [word]
    assert len(kept(outputs)) == 1
    elsewhere = {"paths": {"outputs": tmp_path / "elsewhere"}}
    alone = [measure(rounding, bits, **elsewhere) for bits in (8, 4)][::-1]
    assert learned == [word, word]
    assert [each.logit_mse for each in found] == [each.logit_mse for each in alone]
    assert [each.size_mb for each in found] == [each.size_mb for each in alone]
    seconds = json.loads(kept(outputs)[0].with_name("about.json").read_text())["seconds"]
    assert min(each.seconds["quantize"] for each in found) >= seconds > 0


AFTERWARDS: list[dict[str, Any]] = [
    {},
    {"bias_correction": "empirical"},
    {"reestimate_batchnorm": True},
    {"bias_correction": "empirical", "reestimate_batchnorm": True},
]


@pytest.mark.parametrize(
    ("rounding", "word"), [("adaround", "layers"), ("brecq", "blocks"), ("qdrop", "blocks")]
)
def test_what_comes_after_them_does_not_change_them(
    measure: Measure, learned: list[str], outputs: Path, tmp_path: Path, rounding: str, word: str
) -> None:
    """Neither the weights that are kept nor any number, whoever has learned them."""
    found = [measure(rounding, 8, quant=dict(quant)) for quant in AFTERWARDS]
    assert learned == [word]
    (file,) = kept(outputs)
    of_all = load_file(file)
    for number, quant in enumerate(AFTERWARDS):
        alone = tmp_path / f"alone{number}"
        result = measure(rounding, 8, quant=dict(quant), paths={"outputs": alone})
        assert (result.top1, result.logit_mse) == (found[number].top1, found[number].logit_mse)
        (own,) = kept(alone)
        weights = load_file(own)
        assert weights.keys() == of_all.keys()
        assert all(bool((value == of_all[name]).all()) for name, value in weights.items())
    assert learned == [word] * 5
    assert len({each.logit_mse for each in found}) == len(AFTERWARDS)


def test_what_is_learned_with_the_activations_is_of_their_bits(
    measure: Measure, learned: list[str], outputs: Path
) -> None:
    first = measure("qdrop", 8)
    again = measure("qdrop", 8, force=True)
    assert learned == ["blocks"]
    assert (first.top1, first.logit_mse) == (again.top1, again.logit_mse)
    measure("qdrop", 4)
    measure("qdrop", 8, quant={"a_scheme": "symmetric"})
    assert learned == ["blocks"] * 3
    assert len(kept(outputs)) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"quant": {"rounding_iterations": 4}},
        {"quant": {"w_bits": 4}},
        {"quant": {"w_range": "mse"}},
        {"quant": {"first_bits": 8}},
        {"quant": {"fold": True}},
        {"quant": {"bias_correction": "data_free"}},
        {"seed": 1},
        {"method": {"name": "gaussian", "images": 8}},
    ],
    ids=str,
)
def test_whatever_changes_them_is_in_their_key(
    measure: Measure, learned: list[str], other: dict[str, Any]
) -> None:
    measure("adaround", 8)
    measure("adaround", 8, **other)
    assert len(learned) == 2


def test_weights_that_take_no_time_are_not_kept(measure: Measure, outputs: Path) -> None:
    measure("nearest", 8)
    assert not (outputs / "cache" / "rounded").exists()


def test_a_file_that_was_altered_is_not_used(
    measure: Measure, learned: list[str], outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = measure("adaround", 8)
    (file,) = kept(outputs)
    save_file({name: value * 0 for name, value in load_file(file).items()}, file)
    again = measure("adaround", 8, force=True)
    assert len(learned) == 2
    assert again.logit_mse == first.logit_mse
    assert f"the rounded weights in {file.parent} are damaged; learned again" in caplog.text
