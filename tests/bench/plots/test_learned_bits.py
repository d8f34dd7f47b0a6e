"""What is said of the layers that keep more bits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.plots.learned_bits import CLAIMS, main, measures

NAMES = (
    "features.init_block.conv",
    "features.stage1.unit1.body.conv1.conv",
    "features.stage1.unit1.body.conv2.conv",
    "features.stage2.unit1.body.conv1.conv",
    "features.stage2.unit1.body.conv2.conv",
    "features.stage2.unit1.identity_conv.conv",
    "output",
)


def layers(bits: list[float], input_bits: list[int]) -> list[dict[str, Any]]:
    return [
        {"layer": n, "bits": b, "input_bits": i, "ranges": [b, b + 2], "input_ranges": [1 / i]}
        for n, b, i in zip(NAMES, bits, input_bits, strict=True)
    ]


def test_each_claim_is_a_number() -> None:
    found = measures(layers([7, 6, 5, 4, 3, 2, 8], [8, 6, 2, 6, 2, 6, 2]))
    assert found.keys() == {*CLAIMS.values()}
    assert found["early"] == pytest.approx(-0.25)  # but for the last it would be -1
    assert found["last"] == 8 - 4.5
    assert found["path"] == 4  # the first of a block, and its shortcut
    assert found["ranges"] == pytest.approx(1)
    assert found["input_ranges"] == pytest.approx(-1)


def test_where_all_are_equal_nothing_is_said() -> None:
    found = measures(layers([2] * 7, [2] * 7))
    assert (found["early"], found["ranges"], found["input_ranges"]) == (None, None, None)
    assert found["last"] == found["path"] == 0


def test_the_figure_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for cell in range(3):
        path = tmp_path / f"{cell}.json"
        chosen = layers([7 - cell, 6, 5, 4, 3, 2, 8], [8, 6, 2, 6, 2, 6, 2])
        path.write_text(json.dumps({"layers": chosen}))
        paths.append(str(path))
    main([str(tmp_path / "bits.png"), *paths])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CLAIMS)
    assert lines[2].endswith("mean of the others': +4.00 [+4.00, +4.00], 3 of 3 cells")
    pixels = np.asarray(Image.open(tmp_path / "bits.png").convert("RGB")).astype(int)
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 40).sum() > 500


def test_bits_that_were_searched_for_are_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps({"layers": [{"layer": "a", "bits": 4, "input_bits": 8}]}))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "bits.png"), str(path)])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("has no ranges of its layers; give cells whose bits are trained")
    assert not (tmp_path / "bits.png").exists()
