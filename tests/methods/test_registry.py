"""How a method is found: built in, by entry point, or by module path."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from methods.registry import METHODS, make_method, method_class, sees_real_images
from methods.zeroq import ZeroQ
from models.errors import BenchError

PLUGIN = '''
from dataclasses import dataclass

import torch

from methods.base import Calibration, Method


@dataclass(frozen=True)
class Zeros(Method):
    """Black images."""

    name = "zeros"

    level: float = 0.0

    def calibrate(self, network, context):
        return Calibration(torch.full((self.images, *context.input_shape), self.level))


def not_a_method():
    """Nor is this."""


@dataclass(frozen=True)
class Nameless(Method):
    calibrate = Zeros.calibrate


@dataclass(frozen=True)
class NameIsAParameter(Method):
    name: str = "annotated"
    calibrate = Zeros.calibrate


class Undecorated(Zeros):
    dark: bool = True


@dataclass(frozen=True)
class Abstract(Method):
    name = "abstract"
'''


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path that holds a method in `zeros_plugin`."""
    (tmp_path / "zeros_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "zeros_plugin", raising=False)
    importlib.invalidate_caches()
    return tmp_path


def install(folder: Path, name: str, path: str) -> None:
    """Make `folder`, which is on the import path, hold a distribution with one entry point."""
    info = folder / "zeros-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zeros\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[quantization_bench.methods]\n{name} = {path}\n")
    importlib.invalidate_caches()


def test_built_in() -> None:
    assert method_class("zeroq") is ZeroQ
    assert {"float", "gaussian", "real", "zeroq"} <= set(METHODS.names())


@pytest.mark.parametrize("name", sorted(METHODS.builtin))
def test_whether_a_built_in_sees_training_images(name: str) -> None:
    assert sees_real_images({"name": name}) == method_class(name).needs_real_images


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from methods.registry import METHODS\n"
        "METHODS.names()\n"
        "sys.exit(', '.join({'torch', 'methods.zeroq', 'pydantic'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_module_path(plugin_folder: Path) -> None:
    made = make_method({"name": "zeros_plugin:Zeros", "level": 2})
    assert (type(made).__name__, made.images, made.level) == ("Zeros", 64, 2.0)  # type: ignore[attr-defined]


def test_entry_point(plugin_folder: Path) -> None:
    assert "zeros" not in METHODS.names()
    install(plugin_folder, "zeros", "zeros_plugin:Zeros")
    assert METHODS.installed() == {"zeros": "zeros_plugin:Zeros"}
    assert "zeros" in METHODS.names()
    assert "zeros_plugin" not in sys.modules
    assert method_class("zeros").__name__ == "Zeros"
    assert "zeros_plugin" in sys.modules


def test_entry_point_with_the_name_of_a_built_in(plugin_folder: Path) -> None:
    install(plugin_folder, "zeroq", "zeros_plugin:Zeros")
    with pytest.raises(BenchError) as caught:
        make_method({"name": "gaussian"})
    assert str(caught.value) == (
        "method 'zeroq' is claimed by methods.zeroq:ZeroQ and by the installed "
        "zeros_plugin:Zeros; rename the entry point in 'quantization_bench.methods'"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zeroqq", "unknown method 'zeroqq'; did you mean 'zeroq'?"),
        ("nagel", "unknown method 'nagel'; choose one of: adabits, .*real, "),
        ("no_such_module:X", "cannot import 'no_such_module:X': No module named 'no_such_module'"),
        ("zeros_plugin:Zeroes", "'zeros_plugin' has no 'Zeroes'; did you mean 'Zeros'?"),
        ("zeros_plugin:not_a_method", "method '.*' is <function .*>, not a subclass of methods"),
        ("zeros_plugin:Nameless", "give the class an attribute name = '...', without an annot"),
        ("zeros_plugin:NameIsAParameter", "give the class an attribute name = '...', without"),
        ("zeros_plugin:Undecorated", r"decorate the class with @dataclass\(frozen=True\), else"),
        ("zeros_plugin:Abstract", "method 'zeros_plugin:Abstract': .* does not define calibrate"),
        ("zeros_plugin:torch", "method '.*' is <module .*>, not a subclass of methods.base.Method"),
    ],
)
def test_what_cannot_be_found(plugin_folder: Path, name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        method_class(name)
