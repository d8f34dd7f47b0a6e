"""What lies in methods/: its frame, and beside it methods and nothing else."""

import importlib
from pathlib import Path

import methods
from methods.registry import METHODS

FRAME = {"__init__", "base", "identity", "registry"}
MODULES = {path.stem for path in Path(methods.__path__[0]).glob("*.py")} - FRAME


def test_every_module_beside_the_frame_defines_a_registered_method() -> None:
    defined = {path.partition(":")[0] for path in METHODS.builtin.values()}
    assert defined == {f"methods.{name}" for name in MODULES}


def test_methods_do_not_import_each_other() -> None:
    for name in MODULES:
        module = importlib.import_module(f"methods.{name}")
        origins = {getattr(value, "__module__", "") for value in vars(module).values()}
        assert not origins & {f"methods.{other}" for other in MODULES - {name}}, name
