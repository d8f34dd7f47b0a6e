import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.dashboard.calibrations import calibrations
from bench.dashboard.thin import thinned
from tests.bench.dashboard.examples import example

KEY, OTHER = "a" * 16, "b" * 16


def keep(cache: Path, key: str, side: int = 128, curve: list | None = None) -> None:
    folder = cache / "calibration" / key
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "preview.png")
    if curve is not None:
        (folder / "curve.json").write_text(json.dumps(curve))


def of(cache: Path, key: str = KEY, budget: int = 10**6, **changes: Any) -> dict[str, Any]:
    return calibrations([example("c", calibration_key=key, **changes)], cache, budget)


def opened(said: dict[str, Any]) -> Image.Image:
    kind, _, content = said["picture"].partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_small_previews_stay_whole(tmp_path: Path) -> None:
    keep(tmp_path, KEY, side=128)
    said = of(tmp_path)[KEY]
    assert opened(said).size == (128, 128)
    assert said["pictured"] is None


def test_of_large_images_four_are_shown_smaller(tmp_path: Path) -> None:
    keep(tmp_path, KEY, side=896)
    said = of(tmp_path)[KEY]
    assert opened(said).size == (288, 288)
    assert said["pictured"] == 4


def test_photographs_are_not_embedded(tmp_path: Path) -> None:
    keep(tmp_path, KEY)
    said = of(tmp_path, calibration={"set": "imagenet, training side, 1000 images"})
    assert said == {KEY: {"curve": [], "photographs": True}}


def test_pictures_stop_at_the_budget_and_say_so(tmp_path: Path) -> None:
    keep(tmp_path, KEY)
    keep(tmp_path, OTHER)
    size = len(of(tmp_path)[KEY]["picture"])
    results = [example("c", calibration_key=KEY), example("d", calibration_key=OTHER)]
    said = calibrations(results, tmp_path, size)
    assert "picture" in said[KEY]
    assert said[OTHER] == {"curve": [], "left_out": True}


def test_curves_are_thinned_and_lose_what_is_not_finite(tmp_path: Path) -> None:
    keep(tmp_path, KEY, curve=[float(v) for v in range(1000, 0, -1)])
    curve = of(tmp_path)[KEY]["curve"]
    assert (len(curve), curve[0], curve[-1]) == (160, [1, 1000.0], [1000, 1.0])
    keep(tmp_path, OTHER, curve=[3.0, float("nan"), float("inf"), 2.0])
    assert of(tmp_path, OTHER)[OTHER]["curve"] == [[1, 3.0], [4, 2.0]]


def test_what_is_missing_or_broken_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "calibration" / KEY
    folder.mkdir(parents=True)
    (folder / "preview.png").write_bytes(b"no picture")
    (folder / "curve.json").write_text('{"no": "list"')
    assert of(tmp_path) == {KEY: {"curve": []}}
    assert of(tmp_path, OTHER) == {OTHER: {"curve": []}}


@pytest.mark.parametrize("key", ["../../secrets", "/etc", "A" * 16, ""])
def test_a_key_that_is_none_leads_nowhere(tmp_path: Path, key: str) -> None:
    assert of(tmp_path, key) == {}


@pytest.mark.parametrize("count", [2, 3, 7, 99, 100])
def test_thinned_keeps_both_ends_and_the_order(count: int) -> None:
    kept = thinned(range(100), count)
    assert len(kept) == count
    assert (kept[0], kept[-1]) == (0, 99)
    assert kept == sorted(set(kept))


def test_few_points_are_not_thinned() -> None:
    assert thinned([3, 1, 2], 5) == [3, 1, 2]
