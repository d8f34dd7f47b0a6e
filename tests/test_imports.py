import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "torchvision", "timm", "pytorchcv", "wandb", "PIL", "pandas", "scipy"),
    *("matplotlib", "omegaconf", "pyarrow"),
)


def imported(code: str, also: tuple[str, ...] = ()) -> set[str]:
    """Return which heavy packages, or of `also`, a fresh interpreter has imported after `code`."""
    show = f"\nimport sys; print(*[m for m in {(*HEAVY, 'hydra', *also)!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "modules",
    [
        "bench.cli, bench.config.files, models.zoo, methods.registry, bench.data",
        "models.quantize.spec, bench.files.caches",
    ],
)
def test_what_lists_and_names_imports_nothing_heavy(modules: str) -> None:
    assert imported(f"import {modules}") == set()


def test_results_are_read_without_torch() -> None:
    assert imported(
        "import bench.cells.store, bench.cells.result, bench.cells.cell, bench.config.experiments"
    ) <= {"hydra"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *(["ls", what] for what in ("models", "methods", "experiments"))],
    ids=" ".join,
)
def test_commands_that_only_list_start_at_once(arguments: list[str]) -> None:
    code = (
        "from bench.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as e: assert not e.code"
    )
    assert imported(code) == set()


@pytest.mark.parametrize("name", ["demo", "dsg_resnet18"])
def test_a_table_imports_pandas_and_nothing_else_that_is_heavy(name: str, tmp_path: Path) -> None:
    line = ["table", name, f"paths.outputs={tmp_path}"]
    code = f"from bench.cli import main\nmain({line!r})"
    assert imported(code, also=("bench.measure",)) == {"pandas"}
