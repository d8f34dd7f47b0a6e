import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "pytorchcv", "wandb", "PIL", "pandas")


def imported(code: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has imported after `code`."""
    show = f"\nimport sys; print(*[m for m in {(*HEAVY, 'hydra')!r} if m in sys.modules])"
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
