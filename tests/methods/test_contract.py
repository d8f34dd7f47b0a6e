"""Every built-in method keeps the contract of `methods.base`, and so does its config file."""

import json
from collections.abc import Callable
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.config.compose import compose
from methods.base import Calibration, Context, Method
from methods.registry import METHODS, make_method, method_class
from models.errors import BenchError
from tests.methods.contract import check_contract

CONFIGS = Path(__file__).parents[2] / "conf" / "method"
METHODS_WITH_IMAGES = sorted(METHODS.names())
METHODS_WITH_IMAGES.remove("float")  # the float network is not calibrated
DATA_FREE = [n for n in METHODS_WITH_IMAGES if not method_class(n).needs_real_images]


@pytest.mark.parametrize("name", METHODS_WITH_IMAGES)
def test_contract(name: str, tiny_network: nn.Module, make_context: Callable[..., Context]) -> None:
    check_contract(name, tiny_network, make_context)
    assert method_class(name).name == name


def default(field: "Field[Any]") -> Any:
    """Return the default of a field as a config file says it."""
    known = field.default_factory is MISSING
    value: Any = field.default if known else field.default_factory()  # type: ignore[misc]
    plain = asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
    return json.loads(json.dumps(plain))  # lists for tuples


@pytest.mark.parametrize("name", METHODS_WITH_IMAGES)
def test_config_file_equals_the_defaults(name: str) -> None:
    composed = compose([f"method={name}"])["method"]
    assert composed == {"name": name, **{f.name: default(f) for f in fields(method_class(name))}}
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")


def test_every_config_file_has_its_method() -> None:
    presets = [
        "distilled_qat_dsg",
        "distilled_qat_gaussian",
        "distilled_qat_knowledge_within",
        "distilled_qat_real",
        "distilled_qat_synthetic",
        "dq_8",
        "dq_bn_8",
        "dsg_clip",
        "dsg_label",
        "dsg_label_prior",
        "dsg_qat_release",
        "gdfq_release",
        "synthetic_mct",
        "zeroq_clip",
    ]  # methods with another value of a parameter
    found = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    assert found == sorted([*METHODS_WITH_IMAGES, *presets])


def test_who_needs_real_images() -> None:
    assert "real" not in DATA_FREE
    assert {"gaussian", "zeroq"} <= set(DATA_FREE)


def test_float_calibrates_nothing(
    tiny_network: nn.Module, make_context: Callable[..., Context]
) -> None:
    found = make_method({"name": "float"}).calibrate(tiny_network, make_context())
    assert found.images.shape == (0, 3, 8, 8)
    assert found.curve == []


def test_gaussian_is_standard_normal(
    tiny_network: nn.Module, make_context: Callable[..., Context]
) -> None:
    method = make_method({"name": "gaussian", "images": 500})
    images = method.calibrate(tiny_network, make_context()).images
    assert float(images.mean()) == pytest.approx(0, abs=0.02)
    assert float(images.std()) == pytest.approx(1, abs=0.02)
    kurtosis = float((images**4).mean())
    assert kurtosis == pytest.approx(3, abs=0.15)


def test_fewer_images_are_the_first_of_more(
    tiny_network: nn.Module, make_context: Callable[..., Context]
) -> None:
    few, more = (
        make_method({"name": "gaussian", "images": n}).calibrate(tiny_network, make_context())
        for n in (4, 8)
    )
    assert torch.equal(few.images, more.images[:4])


def test_real_uses_the_given_images_only(tiny_network: nn.Module) -> None:
    asked: list[int] = []
    wanted = torch.arange(5 * 3 * 2 * 2, dtype=torch.float32).view(5, 3, 2, 2)

    def real_images(count: int) -> torch.Tensor:
        asked.append(count)
        return wanted[:count]

    def generator(purpose: str) -> torch.Generator:
        raise AssertionError("real images need no randomness of the method's own")

    context = Context((3, 2, 2), generator, real_images, torch.device("cpu"))
    found = make_method({"name": "real", "images": 4}).calibrate(tiny_network, context)
    assert asked == [4]
    assert torch.equal(found.images, wanted[:4])


@dataclass(frozen=True)
class Picky(Method):
    """For its parameters only."""

    name = "picky"

    rate: float = 0.5
    layers: tuple[str, ...] = ("a", "b")
    flag: bool = False

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(torch.zeros(self.images, *context.input_shape))


PICKY = f"{__name__}:Picky"


def test_parameters_are_fields() -> None:
    made = make_method({"name": PICKY, "images": 3, "rate": 2, "layers": ["c"], "flag": True})
    assert made == Picky(images=3, rate=2.0, layers=("c",), flag=True)
    assert make_method({"name": PICKY}) == Picky()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": PICKY, "rate": "fast"}, r"method\.rate='fast': Input should be a valid number"),
        ({"name": PICKY, "images": 1.5}, r"method\.images=1\.5: Input should be a valid integer"),
        ({"name": PICKY, "images": -1}, r"method 'picky': images=-1; give at least 1"),
        ({"name": PICKY, "rates": 1}, "method 'picky' has no parameter 'rates'; .* 'rate'"),
        (
            {"name": "zeroq", "variant": "papr"},
            r"method\.variant='papr': Input should be 'release'",
        ),
        ({"name": "zeroq", "iterations": 0}, "method 'zeroq': iterations=0; give at least 1"),
    ],
)
def test_bad_parameter_in_one_line(config: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=f"^{message}") as caught:
        make_method(config)
    assert "\n" not in str(caught.value)
