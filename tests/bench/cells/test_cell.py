import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from bench.cells.cell import Cell
from bench.cells.request import digest, float_config
from bench.config.schema import Config
from bench.data import Listing
from bench.measure.mixed import sensitivity_key
from models.zoo import choose_weights, entry
from tests.bench.cells_of import plan, request_id
from tests.bench.data.images import write_image, write_tree

Make = Callable[..., Config]

GAUSSIAN: dict[str, Any] = {"name": "gaussian", "images": 64}
REAL: dict[str, Any] = {"name": "real", "images": 64}
ZEROQ_FASTER: dict[str, Any] = {"name": "zeroq", "images": 64, "iterations": 499}

# What is measured, and so what the id must tell apart.
OTHER_CELLS: list[dict[str, Any]] = [
    {"quant.w_bits": 4},
    {"quant.a_bits": 4},
    {"quant.w_bits": 32},
    {"quant.a_bits": 32},
    {"quant.sites": "all"},
    {"quant.w_scheme": "symmetric"},
    {"quant.a_granularity": "channel"},
    {"method": GAUSSIAN},
    {"method": REAL},
    {"method": ZEROQ_FASTER},
    {"method": {"name": "zeroq", "images": 63}},
    {"method": {"name": "zeroq", "images": 64, "variant": "paper"}},
    {"seed": 1},
    {"data.limit": 100},
    {"data.limit": 101},
    {"runtime.precision": "bf16"},
]

# How it is measured, reported or kept.
SAME_CELL: list[dict[str, Any]] = [
    {"runtime.device": "auto"},
    {"runtime.batch_size": 7},
    {"runtime.threads": 1},
    {"runtime.workers": 1},
    {"runtime.channels_last": False},
    {"runtime.precision": "fp32"},
    {"runtime.limit_s": 60},
    {"tracking.patience_s": 5},
    {"tracking.mode": "offline"},
    {"tracking.project": "other"},
    {"tracking.tags": ["a"]},
    {"paths.outputs": "elsewhere"},
    {"group": "other"},
    {"gate": "warn"},
    {"force": True},
    {"data.limit": None},
    {"data.subset": None},
    {"model.weights": "mnist5k"},
]


def test_known_ids(make_config: Make) -> None:
    """A change here forgets every measured cell: raise IDENTITY_VERSION if it is meant."""
    config = make_config()
    assert plan(config).id == "0ddb150d80518ee0"
    assert plan(config).calibration_key == "7947cd9db3cdeca2"
    assert plan(float_config(config)).id == "9e57428e91b4e7c2"
    assert request_id(config) == "5b3f66cdfd07fbd8"
    assert request_id(float_config(config)) == "459b54101092cb45"


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert len(digest(None)) == 16


@pytest.mark.parametrize("change", SAME_CELL, ids=str)
def test_the_same_cell(make_config: Make, change: dict[str, Any]) -> None:
    default, changed = make_config(), make_config(change)
    assert plan(changed).id == plan(default).id
    assert request_id(changed) == request_id(default)


def test_other_cells_are_all_told_apart(make_config: Make) -> None:
    configs = [make_config(change) for change in [{}, *OTHER_CELLS]]
    assert len({plan(config).id for config in configs}) == len(configs)
    assert len({request_id(config) for config in configs}) == len(configs)


def test_ranges_by_channel_of_tokens_are_others_than_they_were(make_config: Make) -> None:
    """Where a linear layer may see (N, ..., C); no network of the zoo has one."""
    by_channel = make_config({"quant.a_granularity": "channel", "quant.sites": "all"})
    request = plan(by_channel).request
    assert "a_channel_axis" not in request.quant_identity()
    own = replace(request, entry=replace(request.entry, name="timm/vit_tiny_patch16_224"))
    assert own.quant_identity() == {**request.quant_identity(), "a_channel_axis": "last"}
    relus = replace(own, effective=make_config({"quant.a_granularity": "channel"}))
    assert "a_channel_axis" not in relus.quant_identity()


def test_sensitivities_of_a_range_that_is_found_in_another_way_are_others(
    make_config: Make,
) -> None:
    def key_and_digest(name: str) -> tuple[str, str]:
        bits = {"quant.w_bits": "mixed", "quant.mean_bits": 4.0, "quant.w_range": name}
        cell = plan(make_config(bits))
        of_weights = ("w_scheme", "w_granularity", "w_range", "w_candidates", "fold")
        quantizer = {key: cell.spec.as_dict()[key] for key in of_weights}
        return sensitivity_key(cell), digest({"source": cell.source, "quantizer": quantizer})

    for name, is_same in (("minmax", True), ("percentile", True), ("mse", False)):
        key, of_first_version = key_and_digest(name)
        assert (key == of_first_version) is is_same


def test_bits_and_evaluated_images_share_the_calibration(make_config: Make) -> None:
    key = plan(make_config()).calibration_key
    shared: list[dict[str, Any]] = [
        {"quant.w_bits": 3},
        {"quant.a_bits": 3},
        {"data.limit": 100},
    ]
    other: list[dict[str, Any]] = [
        {"seed": 1},
        {"method": GAUSSIAN},
        {"method": ZEROQ_FASTER},
        {"runtime.precision": "bf16"},
    ]
    for change in shared:
        assert plan(make_config(change)).calibration_key == key
    for change in other:
        assert plan(make_config(change)).calibration_key != key


@pytest.mark.parametrize(
    "change",
    [
        {"method": GAUSSIAN},
        {"method": REAL},
        {"quant.w_bits": 32, "quant.a_bits": 32},
        {"method": {"name": "tests.bench.measure.test_calibration:Counting", "images": 2}},
    ],
    ids=str,
)
def test_precision_matters_to_images_that_are_distilled_only(
    make_config: Make, change: dict[str, Any]
) -> None:
    full, half = (make_config(change | {"runtime.precision": p}) for p in ("fp32", "bf16"))
    assert plan(half).precision == "fp32"
    assert plan(half).id == plan(full).id
    assert plan(half).calibration_key == plan(full).calibration_key
    assert request_id(half) == request_id(full)


def test_distilled_in_bfloat16_is_another_cell_of_the_same_float_network(
    make_config: Make,
) -> None:
    for method in (ZEROQ_FASTER, {"name": "dsg"}):
        full, half = (
            make_config({"method": method, "runtime.precision": p}) for p in ("fp32", "bf16")
        )
        assert (plan(full).precision, plan(half).precision) == ("fp32", "bf16")
        assert "precision" not in plan(full).source
        assert plan(half).source == plan(full).source | {"precision": "bf16"}
        assert plan(half).id != plan(full).id
        assert plan(half).calibration_key != plan(full).calibration_key
        assert request_id(half) != request_id(full)
        assert plan(float_config(half)).id == plan(float_config(full)).id
        assert request_id(float_config(half)) == request_id(float_config(full))


def test_a_file_is_its_content_not_its_path(make_config: Make, tmp_path: Path) -> None:
    shipped = choose_weights(entry("resnet20"), "default").path()
    same, other = tmp_path / "same.safetensors", tmp_path / "other.safetensors"
    shutil.copy(shipped, same)
    state = load_file(shipped)
    key = next(key for key in state if state[key].is_floating_point())
    save_file(state | {key: state[key] + 1}, other)

    default = make_config()
    by_path, changed = (make_config({"model.weights": str(path)}) for path in (same, other))
    assert plan(by_path).id == plan(default).id
    assert request_id(by_path) == request_id(default)
    assert plan(changed).id != plan(default).id
    assert request_id(changed) != request_id(default)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    counts = {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2}
    return write_tree(tmp_path / "photos", counts)


def ids(make_config: Make, root: Path) -> dict[str, str]:
    """Return the cell id of each method on the images under `root`."""
    found = {}
    for method in (GAUSSIAN, ZEROQ_FASTER, REAL):
        data = {"name": "folder", "root": str(root), "label": "photos", "limit": None}
        found[method["name"]] = plan(make_config({"data": data, "method": method})).id
    return found


def test_a_copy_of_the_images_is_the_same_cell(
    make_config: Make, photos: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "another place"
    shutil.copytree(photos, copied, copy_function=shutil.copy)  # with new modification times
    assert ids(make_config, copied) == ids(make_config, photos)


def test_another_evaluated_image_is_another_cell(make_config: Make, photos: Path) -> None:
    before = ids(make_config, photos)
    write_image(photos / "test" / "b" / "more.png", seed=99)
    after = ids(make_config, photos)
    assert all(before[name] != after[name] for name in before)


def test_training_images_matter_to_the_method_that_uses_them(
    make_config: Make, photos: Path
) -> None:
    before = ids(make_config, photos)
    write_image(photos / "train" / "b" / "more.png", seed=99)
    after = ids(make_config, photos)
    assert before["real"] != after["real"]
    assert before["gaussian"] == after["gaussian"]
    assert before["zeroq"] == after["zeroq"]


def test_a_subset_of_the_training_side_matters_to_the_method_that_uses_it(
    make_config: Make,
) -> None:
    for method in (REAL, GAUSSIAN, ZEROQ_FASTER):
        configs = [make_config({"method": method, "data.subset": n}) for n in (None, 500, 501)]
        different = 3 if method is REAL else 1
        assert len({plan(config).id for config in configs}) == different
        assert len({plan(config).calibration_key for config in configs}) == different
        assert len({request_id(config) for config in configs}) == different
        assert len({plan(float_config(config)).id for config in configs}) == 1
        assert len({request_id(float_config(config)) for config in configs}) == 1


def test_a_config_from_before_there_were_subsets_is_the_same_cell(make_config: Make) -> None:
    for method in (REAL, GAUSSIAN):
        new = make_config({"method": method})
        old = new.model_copy(update={"data": {"name": "mnist5k", "limit": None}})
        assert "subset" in new.data
        assert plan(old).id == plan(new).id
        assert request_id(old) == request_id(new)


@pytest.mark.parametrize("method", ["gaussian", "real", "coquant"])
def test_a_request_for_a_subset_needs_no_torch(method: str) -> None:
    code = (
        "import sys; from bench.cells.request import request_of\n"
        "from bench.config.schema import read_config\n"
        "from bench.config.compose import compose\n"
        f"print(request_of(read_config(compose(['data.subset=50', 'method={method}']))).id)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, len(done.stdout.strip())) == (0, "", 16)


def test_a_request_does_not_look_at_the_images(make_config: Make, photos: Path) -> None:
    def request(root: Path | None) -> str:
        data = {"name": "folder", "root": root and str(root), "label": "photos", "limit": None}
        return request_id(make_config({"data": data}))

    before = request(photos)
    write_image(photos / "test" / "b" / "more.png", seed=99)
    assert before == request(photos) == request(photos / "nowhere") == request(None)


@pytest.mark.parametrize(
    "change",
    [
        {"method": GAUSSIAN},
        {"method": REAL},
        {"seed": 5},
        {"quant.sites": "all"},
        {"quant.w_scheme": "symmetric", "quant.a_granularity": "channel"},
    ],
    ids=str,
)
def test_the_float_cell_ignores_method_seed_and_recipe(
    make_config: Make, change: dict[str, Any]
) -> None:
    float_bits = {"quant.w_bits": 32, "quant.a_bits": 32}
    default, changed = make_config(float_bits), make_config(float_bits | change)
    assert plan(changed).id == plan(default).id
    assert request_id(changed) == request_id(default)
    assert plan(changed).method.name == "float"
    assert plan(changed).seed == 0
    # The reference of a quantized cell is that very cell.
    assert plan(float_config(make_config(change))).id == plan(default).id


def test_what_has_no_effect_at_the_bits_is_no_other_cell(make_config: Make) -> None:
    def same(change: dict[str, Any], bits: dict[str, Any]) -> bool:
        return plan(make_config(bits)).id == plan(make_config(bits | change)).id

    float_activations, float_weights = {"quant.a_bits": 32}, {"quant.w_bits": 32}
    assert same({"quant.a_scheme": "symmetric", "quant.sites": "all"}, float_activations)
    assert not same({"quant.w_scheme": "symmetric"}, float_activations)
    assert same({"quant.w_scheme": "symmetric", "quant.w_granularity": "tensor"}, float_weights)
    assert not same({"quant.sites": "all"}, float_weights)


def test_the_reference_is_never_forced(make_config: Make) -> None:
    assert float_config(make_config({"force": True})).force is False


def test_a_published_top1_is_expected_on_its_own_images_only(make_config: Make) -> None:
    cell = plan(make_config())

    def on(name: str, images: int) -> Cell:
        labels = np.zeros(images, dtype=np.int64)
        files = tuple(map(str, range(images)))
        return replace(cell, listing=Listing(name, "eval", files, labels, 1, "f", "s"))

    assert on("mnist5k", 1000).expected == cell.expected == 99.0
    assert on("mnist5k", 999).expected is None
    assert on("digits", 1000).expected is None
    unpublished = replace(cell.request, weights=replace(cell.weights, published=None))
    assert replace(cell, request=unpublished).expected is None
