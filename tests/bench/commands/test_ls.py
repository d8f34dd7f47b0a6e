from collections.abc import Callable
from pathlib import Path

import pytest

from methods.registry import METHODS
from models.zoo import zoo
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
_SOURCES = ("dsg", "gaussian", "knowledge_within", "real", "synthetic")


def listed(done: Finished) -> dict[str, str]:
    assert (done.status, done.err) == (0, "")
    pairs = [line.split(None, 1) for line in done.out.splitlines()]
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


@pytest.mark.parametrize(
    ("what", "some"),
    [
        ("models", {"resnet20", "efficientnet_lite0"}),
        ("model", {"resnet20", "efficientnet_lite0"}),  # as in model=
        ("recipe", {"zeroq_release", "all_inputs"}),
        ("methods", {"gaussian", "real", "zeroq"}),
        ("quant", {"fp32", "w8a8", "w4a4", "w2a2"}),
        ("recipes", {"zeroq_release", "all_inputs"}),
        ("data", {"mnist5k", "cifar10", "imagenet", "folder"}),
        ("experiments", {"demo"}),
        ("tables", {"demo", "dsg_resnet18", "coquant_minikinetics_resnet18"}),
    ],
)
def test_names_with_what_they_are(bench_main: Bench, what: str, some: set[str]) -> None:
    found = listed(bench_main("ls", what))
    assert some <= found.keys()
    assert all(found.values()), [name for name, text in found.items() if not text]


def test_every_model_and_method_there_is_can_be_named(bench_main: Bench) -> None:
    assert listed(bench_main("ls", "models")).keys() == zoo().keys()
    # Methods with another value of a parameter.
    presets = {"dq_8", "dq_bn_8", "dsg_clip", "dsg_label", "dsg_label_prior"}
    presets |= {"synthetic_mct", "zeroq_clip", "dsg_qat_release", "gdfq_release"}
    presets |= {f"distilled_qat_{name}" for name in _SOURCES}
    # `float` is what W32A32 cells have; it is not to be chosen.
    assert listed(bench_main("ls", "methods")).keys() == {*METHODS.names()} - {"float"} | presets


def test_configs_of_ones_own(bench_main: Bench, tmp_path: Path) -> None:
    (tmp_path / "quant").mkdir()
    (tmp_path / "quant" / "w11a11.yaml").write_text("# seven\nw_bits: 11\na_bits: 11\n")
    found = listed(bench_main("ls", "quant", "--config-dir", tmp_path))
    assert found["w11a11"] == "seven"
    assert "w8a8" in found


def test_an_installed_method_is_listed(bench_main: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "installed", lambda: {"mine": "package.module:Mine"})
    assert listed(bench_main("ls", "methods"))["mine"] == "installed: package.module:Mine"
