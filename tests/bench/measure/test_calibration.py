"""Calibration images are made once and kept whole."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from bench.cells.cell import Cell
from bench.cells.request import Request
from bench.cells.seeds import numpy_generator
from bench.config.plain import Composer
from bench.config.schema import read_config
from bench.data import ImageSet, Listing, calibration_indices
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, PREVIEW
from bench.machine.device import Device
from bench.measure.calibration import Source, calibrate, preview, read_curve
from methods.base import Calibration, Context, Method, no_progress
from methods.registry import METHODS, make_method, method_class
from models.errors import BenchError, NotApplicable
from models.preprocessing import Preprocessing
from models.quantize.spec import QuantSpec
from models.zoo import choose_weights, entry
from tests.methods.contract import tiny_parameters

PREPROCESSING = Preprocessing(8, 8, "bilinear", (0.5,) * 3, (0.25,) * 3)
DATA_FREE = [n for n in METHODS.names() if not method_class(n).needs_real_images]


@dataclass(frozen=True)
class Counting(Method):
    """Noise with a curve; notes each call."""

    name = "counting"
    cached = True
    calls: ClassVar[list[int]] = []

    bad: float | None = None

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        self.calls.append(self.images)
        shape = (self.images, *context.input_shape)
        images = torch.randn(shape, generator=context.generator("synthesis"))
        if self.bad is not None:
            images[-1, 0, 0, 0] = self.bad
        return Calibration(images, [3.0, 2.0, 1.5])


@dataclass(frozen=True)
class Cheap(Counting):
    """The same, not worth keeping."""

    name = "cheap"
    cached = False


@dataclass(frozen=True)
class Liar(Method):
    """Says it is data-free."""

    name = "liar"

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(context.real_images(self.images))


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    Counting.calls.clear()


def cell_of(method: Method, spec: QuantSpec | None = None, seed: int = 0) -> Cell:
    labels = np.zeros(1, np.int64)
    listing = Listing("toy", "eval", ("a",), labels, 1, "fingerprint", "stamp")
    model = entry("resnet20")
    weights = replace(choose_weights(model, "default"), preprocessing=PREPROCESSING)
    config = read_config(Composer().compose([]))
    config = config.model_copy(update={"quant": spec or QuantSpec(8, 8), "seed": seed})
    return Cell(Request(config, config, model, weights, "fp32"), method, listing, None)


def of_request(cell: Cell, **changes: Any) -> Cell:
    """The same cell with another value in its request."""
    return replace(cell, request=replace(cell.request, **changes))


def training_images(count: int = 12) -> ImageSet:
    labels = np.arange(count, dtype=np.int64) % 3
    files = tuple(map(str, range(count)))
    listing = Listing("toy", "train", files, labels, 3, "training", "stamp")
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return ImageSet(listing, pixels)


def entry_in(cache: Path) -> CacheEntry:
    return CacheEntry(cache, CALIBRATION, "a" * 16)


def run(network: nn.Module, cell: Cell, entry: CacheEntry | Path | None, **changes: Any) -> Source:
    """Calibrate with an entry, with the one in a cache, or fresh."""
    given: dict[str, Any] = {
        "training_images": None,
        "device": Device(torch.device("cpu"), torch.contiguous_format),
        "progress": no_progress,
    }
    entry = entry_in(entry) if isinstance(entry, Path) else entry
    return calibrate(cell, network, entry=entry, **(given | changes))


def names(entry: CacheEntry) -> set[str]:
    return {path.name for path in entry.path.iterdir()}


def test_kept_images_are_used_by_the_next_cell(tiny_network: nn.Module, tmp_path: Path) -> None:
    first = run(tiny_network, cell_of(Counting(images=3)), tmp_path)
    second = run(tiny_network, cell_of(Counting(images=3), QuantSpec(2, 4)), tmp_path)
    assert Counting.calls == [3]
    assert torch.equal(first.calibration.images, second.calibration.images)
    assert first.calibration.curve == second.calibration.curve == [3.0, 2.0, 1.5]
    assert first.indices == second.indices == []


def test_what_is_kept(tiny_network: nn.Module, tmp_path: Path) -> None:
    entry = entry_in(tmp_path / "new" / "folder")
    found = run(tiny_network, cell_of(Counting(images=3)), entry)
    files = {"images.safetensors", "curve.json", "preview.png", "checksums.json"}
    folder = tmp_path / "new" / "folder" / "calibration" / ("a" * 16)
    assert names(entry) - {"lock"} == files
    kept = load_file(folder / "images.safetensors")
    assert torch.equal(kept["images"], found.calibration.images)
    assert json.loads((folder / "curve.json").read_text()) == read_curve(entry) == [3.0, 2.0, 1.5]
    with Image.open(folder / "preview.png") as image:
        expected = preview(found.calibration.images, PREPROCESSING)
        assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_cheap_images_are_made_again(tiny_network: nn.Module, tmp_path: Path) -> None:
    first, second = (run(tiny_network, cell_of(Cheap(images=3)), tmp_path) for _ in range(2))
    assert Counting.calls == [3, 3]
    assert torch.equal(first.calibration.images, second.calibration.images)
    assert names(entry_in(tmp_path)) - {"lock"} == {"curve.json", "preview.png"}


def test_without_an_entry_they_are_made_again(tiny_network: nn.Module, tmp_path: Path) -> None:
    kept = run(tiny_network, cell_of(Counting(images=2)), tmp_path)
    again = run(tiny_network, cell_of(Counting(images=2)), None)
    assert Counting.calls == [2, 2]
    assert torch.equal(again.calibration.images, kept.calibration.images)
    assert again.calibration.curve == [3.0, 2.0, 1.5]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_that_are_not_finite(
    tiny_network: nn.Module, tmp_path: Path, bad: float, fresh: bool
) -> None:
    with pytest.raises(BenchError, match="the calibration images are not finite; lower"):
        run(tiny_network, cell_of(Counting(bad=bad)), None if fresh else tmp_path)
    assert fresh or names(entry_in(tmp_path)) == {"lock"}


def test_an_interrupted_writer_leaves_nothing_to_be_used(
    tiny_network: nn.Module, tmp_path: Path
) -> None:
    entry = entry_in(tmp_path)
    entry.path.mkdir(parents=True)
    (entry.path / "images.partial").write_bytes(b"half")
    (entry.path / ".curve.json.77").write_bytes(b"[3.0, ")
    (entry.path / "curve.json").write_text("[7.0]")
    run(tiny_network, cell_of(Counting(images=2)), entry)
    assert Counting.calls == [2]
    assert read_curve(entry) == [3.0, 2.0, 1.5]
    assert not names(entry) & {"images.partial", ".curve.json.77"}


def test_seed_decides(tiny_network: nn.Module, tmp_path: Path) -> None:
    images = [
        run(tiny_network, cell_of(Cheap(images=2), seed=seed), tmp_path / str(seed)).calibration
        for seed in (0, 1)
    ]
    assert not torch.equal(images[0].images, images[1].images)


def test_bits_do_not_name_the_folder_but_the_cell() -> None:
    method = make_method({"name": "zeroq"})
    cells = [cell_of(method, QuantSpec(*bits)) for bits in ((8, 8), (4, 8), (4, 4))]
    assert len({cell.calibration_key for cell in cells}) == 1
    assert len({cell.id for cell in cells}) == 3
    others = [
        cell_of(method, seed=1),
        cell_of(replace(method, images=32)),
        cell_of(make_method({"name": "zeroq", "variant": "paper"})),
        of_request(cells[0], weights=replace(cells[0].weights, sha256="0" * 64)),
    ]
    keys = {cell.calibration_key for cell in [cells[0], *others]}
    assert len(keys) == 5


def test_version_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_of(Counting()).calibration_key
    monkeypatch.setattr(Counting, "version", 2)
    assert cell_of(Counting()).calibration_key != before


@pytest.mark.parametrize("name", DATA_FREE)
def test_data_free_methods_do_without_the_training_images(
    name: str, tiny_network: nn.Module, tmp_path: Path
) -> None:
    found = run(tiny_network, cell_of(make_method(tiny_parameters(name))), tmp_path)
    assert found.indices == []


def test_a_method_that_lies_is_caught(tiny_network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^method 'liar' reached for training images; .*declare"):
        run(tiny_network, cell_of(Liar(images=2)), tmp_path)
    assert not entry_in(tmp_path).file(PREVIEW).exists()


def test_real_images_are_those_of_the_seed(tiny_network: nn.Module, tmp_path: Path) -> None:
    images = training_images()
    cell = cell_of(make_method({"name": "real", "images": 6}), seed=4)
    found = run(tiny_network, cell, tmp_path, training_images=images)
    expected = calibration_indices(images.listing, 6, numpy_generator(4, "calibration"))
    assert found.indices == expected.tolist()
    assert np.bincount(images.labels[found.indices]).tolist() == [2, 2, 2]
    pixels = torch.from_numpy(images.images[found.indices])
    assert torch.equal(found.calibration.images, PREPROCESSING.normalise(pixels))
    other = cell_of(cell.method, seed=5)
    assert run(tiny_network, other, tmp_path / "5", training_images=images).indices != found.indices


def test_more_images_than_there_are(tiny_network: nn.Module, tmp_path: Path) -> None:
    cell = cell_of(make_method({"name": "real", "images": 13}))
    with pytest.raises(BenchError, match="cannot choose 13 calibration images from the 12"):
        run(tiny_network, cell, tmp_path, training_images=training_images())


def test_method_without_meaning_for_the_network(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(NotApplicable, match="no BatchNorm statistics to match"):
        run(nn.Conv2d(3, 2, 1), cell_of(make_method({"name": "zeroq"})), cache)
    assert not cache.exists()


def test_progress_is_handed_on(tiny_network: nn.Module, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    progress: Callable[..., None] = lambda done, total, loss=None: calls.append((done, total))  # noqa: E731
    cell = cell_of(make_method({"name": "zeroq", "images": 2, "iterations": 2}))
    run(tiny_network, cell, tmp_path, progress=progress)
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_handed_on(
    tiny_network: nn.Module, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    seen: list[torch.dtype] = []
    tiny_network.get_submodule("relu").register_forward_hook(
        lambda *args: seen.append(args[2].dtype)
    )
    method = make_method({"name": "zeroq", "images": 2, "iterations": 1})
    cell = of_request(cell_of(method), precision=precision)
    found = run(tiny_network, cell, tmp_path)
    assert seen[-1] == dtype
    assert found.calibration.images.dtype == torch.float32


def test_no_curve_kept(tmp_path: Path) -> None:
    assert read_curve(entry_in(tmp_path)) == []


def pixels_of(count: int) -> torch.Tensor:
    """Image i is 2 x 2 of value (10 i, 10 i + 1, 10 i + 2), normalised."""
    values = 10 * torch.arange(count).view(-1, 1, 1, 1) + torch.arange(3).view(1, 3, 1, 1)
    return PREPROCESSING.normalise(values.to(torch.uint8).expand(count, 3, 2, 2))


def test_preview_undoes_the_normalisation() -> None:
    grid = np.asarray(preview(pixels_of(16), PREPROCESSING))
    assert (grid.shape, grid.dtype) == ((8, 8, 3), np.uint8)
    for index in range(16):
        row, column = divmod(index, 4)
        tile = grid[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert (tile == [10 * index, 10 * index + 1, 10 * index + 2]).all()


@pytest.mark.parametrize(
    ("count", "height", "width"),
    [(1, 2, 2), (3, 2, 6), (4, 2, 8), (5, 4, 8), (16, 8, 8), (20, 8, 8)],
)
def test_preview_grid(count: int, height: int, width: int) -> None:
    grid = np.asarray(preview(pixels_of(count), PREPROCESSING))
    assert grid.shape == (height, width, 3)
    shown = min(count, 16)
    last_row, last_column = divmod(shown - 1, min(4, shown))
    assert grid[2 * last_row, 2 * last_column, 0] == 10 * (shown - 1)
    if count == 5:
        assert not grid[2:, 2:].any()  # the rest of the last row is black


def test_preview_keeps_the_orientation_and_clips() -> None:
    image = torch.zeros(1, 3, 2, 3)  # mid-grey: 0.5 * 255, rounded to even
    image[0, 0, 0, 2] = 100.0
    image[0, 1, 1, 0] = -100.0
    grid = np.asarray(preview(image, PREPROCESSING))
    assert grid[0, 2].tolist() == [255, 128, 128]
    assert grid[1, 0].tolist() == [128, 0, 128]
    assert grid[0, 0].tolist() == [128, 128, 128]
