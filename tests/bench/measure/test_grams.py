"""Gram matrices that one bit-width makes and the next ones find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bench.config.schema import Config
from models.quantize.rounding import known, weights
from tests.bench.cells_of import run_cell

MakeConfig = Callable[..., Config]


def split(bits: int, **changes: object) -> dict[str, object]:
    plain = {"w_scheme": "symmetric", "rounding": "bit_split", "rounding_epochs": 1}
    return {"quant": {"w_bits": bits, "a_bits": 32} | plain | changes}


def test_they_are_made_once_for_all_bits(
    make_fast: MakeConfig,
    small: dict[str, Any],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    look = weights._look
    monkeypatch.setattr(weights, "_look", lambda *at: (looks.append(len(at[1])), look(*at)))
    first = run_cell(make_fast(small | split(4))).result
    again = run_cell(make_fast(small | split(4) | {"force": True})).result
    run_cell(make_fast(small | split(3)))
    run_cell(make_fast(small | split(3, last_bits=32)))
    assert looks == [3]
    assert first is not None
    assert again is not None
    assert (first.top1, first.logit_mse) == (again.top1, again.logit_mse)
    (kept,) = outputs.glob("cache/grams/*")
    grams = load_file(kept / "grams.safetensors")
    assert len(grams) == 3
    assert grams["0"].shape == (1, 27, 27)
    run_cell(make_fast(small | split(3, fold=True)))
    assert looks == [3, 3]
    assert len(list(outputs.glob("cache/grams/*"))) == 2
    # An altered file is found by its checksum, and made again.
    save_file({name: gram * 2 for name, gram in grams.items()}, kept / "grams.safetensors")
    run_cell(make_fast(small | split(5)))
    assert looks == [3, 3, 3]
    assert load_file(kept / "grams.safetensors").keys() == grams.keys()


def test_only_what_fits_is_kept(
    make_fast: MakeConfig, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "LAYER", 144 * 144)
    monkeypatch.setattr(known, "ALL", 27 * 27 + 144 * 144 + 64 * 64)
    run_cell(make_fast(split(4)))
    (kept,) = outputs.glob("cache/grams/*")
    sizes = sorted(gram.numel() for gram in load_file(kept / "grams.safetensors").values())
    assert max(sizes) == 144 * 144
    assert sum(sizes) <= 27 * 27 + 144 * 144 + 64 * 64


def test_a_rounding_that_sees_quantized_inputs_keeps_none(
    make_fast: MakeConfig, outputs: Path
) -> None:
    run_cell(make_fast(split(4, rounding_variant="sequential")))
    assert not (outputs / "cache" / "grams").exists()
