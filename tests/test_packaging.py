"""What is in the wheel, and that it works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)]
    run = subprocess.run([*command, str(TOP)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (found,) = place.glob("*.whl")
    return found


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "models/zoo/files/resnet20_mnist5k.safetensors" in names
    shipped = {f"bench/{path.relative_to(TOP)}" for path in (TOP / "conf").rglob("*.yaml")}
    assert "bench/conf/config.yaml" in shipped
    assert shipped <= names
    references = TOP / "bench" / "papers" / "references"
    published = {str(path.relative_to(TOP)) for path in references.iterdir()}
    assert "bench/papers/references/papers.bib" in published
    assert published <= names
    tables = {str(path.relative_to(TOP)) for path in (TOP / "bench/papers/tables").iterdir()}
    assert "bench/papers/tables/zeroq_w8a8.yaml" in tables
    assert tables <= names
    assets = {str(path.relative_to(TOP)) for path in (TOP / "bench/dashboard/assets").iterdir()}
    assert "bench/dashboard/assets/page.html" in assets
    assert assets <= names
    code = {
        str(path.relative_to(TOP))
        for package in ("bench", "hydra_plugins", "methods", "models")
        for path in (TOP / package).rglob("*.py")
    }
    assert code <= names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {
        "bench",
        "hydra_plugins",
        "methods",
        "models",
    }


def test_it_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(unpacked)
    empty.mkdir()

    def python(*args: str) -> str:
        run = subprocess.run(
            [sys.executable, *args],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    folder = python("-c", "from bench.config.files import config_folder; print(config_folder())")
    assert folder.strip() == str(unpacked / "bench" / "conf")
    listed = python("-m", "bench", "ls", "experiments")
    assert any(line.startswith("demo ") for line in listed.splitlines())
    outputs = f"paths.outputs={tmp_path}/outputs"
    given = ("method=gaussian", "data.limit=50", "tracking=none", outputs)
    measured = python("-m", "bench", "run", *given)
    assert measured.startswith("resnet20 mnist5k gaussian W8A8 seed 0: ")
    assert list(empty.iterdir()) == []
