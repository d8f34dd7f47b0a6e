"""Files of the user's that are called as parts of this project are not taken for them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.result import Result
from tests.bench.conftest import FAST, records
from tests.bench.training.test_processes import FLOAT, TWO_MACHINES, free_address

TOP = Path(__file__).parents[2]

SCRIPTS = {
    # The installed `bench`: Python puts the folder of the script first on the path.
    "bench": "from bench.cli import command\nif __name__ == '__main__':\n    command()\n",
    # The same for several command lines.
    "several": """\
import json, sys
from bench.cli import main

for line in json.loads(sys.argv[1]):
    try:
        status = main(line)
    except SystemExit as exit:
        status = exit.code
    print("status", status, flush=True)
""",
    "limit": """\
import sys, time
from pathlib import Path
import bench.measure.limit
from bench.cells.result import Result
from bench.measure.clock import Clock

bench.measure.limit.GRACE_SECONDS = 2.0
folder = Path(sys.argv[1])
result = Result.model_validate_json((folder / "result.json").read_text())
unfinished = bench.measure.limit.Unfinished(folder, folder / "pending", "a: 1", result)
with bench.measure.limit.time_limit(1, Clock(), lambda: unfinished):
    print("in", flush=True)
    time.sleep(60)
""",
    "upload": """\
import sys
from pathlib import Path
from bench.tracking.uploads import Uploads

uploads = Uploads()
uploads.add(Path(sys.argv[1]))
print(uploads.finish(60))
""",
}
# A cell of the experiment `demo`, but for the images that it is evaluated on.
ONE = (*FAST, "method.images=16", "quant.w_bits=8", "seed=0")
TRAINING = (
    *("tracking=none", "data.subset=60", "data.limit=20", "method.images=8", *FLOAT),
    *("method.schedule.epochs=1", "runtime.threads=1", "runtime.processes=2"),
)


class Place:
    """A folder with such files where commands are typed."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self._scripts = folder.parent / f"{folder.name}-scripts"
        for name in names:
            (folder / f"{name}.py").write_text("raise RuntimeError('shadow')\n")
        for name in ("config", "method/gaussian", "experiment/demo"):
            file = folder / "conf" / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("shadow: true\n")
        self._scripts.mkdir()
        for name, text in SCRIPTS.items():
            (self._scripts / name).write_text(text)

    def start(
        self, *args: str | Path, script: str | None = "bench", path: tuple[Path, ...] = (TOP,)
    ) -> "subprocess.Popen[str]":
        """Start an installed script there, without one Python itself."""
        program = [] if script is None else [self._scripts / script]
        env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        return subprocess.Popen(
            [sys.executable, *program, *args],
            cwd=self.folder,
            env=env | {"PYTHONPATH": os.pathsep.join(map(str, path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *args: str | Path, script: str | None = "bench", path: tuple[Path, ...] = (TOP,)
    ) -> tuple[int, str, str]:
        """Return the exit status, and what is printed on stdout and on stderr."""
        process = self.start(*args, script=script, path=path)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With everything that might be mixed up, and one cell measured there."""
    folder = tmp_path_factory.mktemp("place")
    place = Place(folder, "bench", "methods", "models")
    status, out, err = place.run("run", *ONE)
    assert status == 0, out + err
    return place


@pytest.fixture
def other(tmp_path: Path) -> Place:
    """One in which `python -m bench` runs this project: there is no bench.py."""
    folder = tmp_path / "other"
    folder.mkdir()
    return Place(folder, "methods", "models")


@pytest.mark.faults
def test_every_command_works_beside_them(place: Place) -> None:
    id = next(iter(records(place.folder / "outputs")))
    one = " ".join(ONE)
    expected = {
        "ls models": 0,
        "ls methods": 0,
        "ls tables": 0,
        "validate demo": 0,
        "status": 0,
        "status --experiment demo": 0,
        "table demo": 0,
        "table dsg_resnet18": 0,
        "ledger": 0,
        f"recipe {id}": 0,
        "recipe all_inputs deploy": 1,  # they differ
        "compare demo": 0,
        "cite demo": 0,
        "dashboard --out dashboard.html": 0,
        f"wandb report demo --dry-run {one}": 0,
        "cache ls": 0,
        "cache clean --max-gb 1": 0,
        "merge outputs --dry-run paths.outputs=merged": 0,
        "docs --check": 2,  # this is no checkout
        "join 127.0.0.1:1 --machine 1 --wait 0": 1,  # nobody listens
        f"rerun {id}": 0,
        f"run --dry-run {one}": 0,
        f"run {one}": 0,
        "train data.subset=60 data.limit=20 train.epochs=1 train.batch_size=20": 0,
    }
    lines = json.dumps([line.split() for line in expected])
    _, out, err = place.run(lines, script="several")
    statuses = [int(line.split()[1]) for line in out.splitlines() if line.startswith("status ")]
    assert dict(zip(expected, statuses, strict=False)) == expected, out + err
    assert "shadow" not in out + err


@pytest.mark.parametrize("args", ["status", "ls methods", "table dsg_resnet18"])
def test_python_m_bench_works_beside_them(other: Place, args: str) -> None:
    status, out, err = other.run("-m", "bench", *args.split(), script=None)
    assert (status, err) == (0, "")
    assert "shadow" not in out


def test_a_folder_of_pythonpath_hides_nothing(other: Place, tmp_path: Path) -> None:
    status, _, err = other.run("ls", "models", path=(other.folder, TOP))
    assert (status, err) == (0, "")


def test_a_module_that_is_imported_already_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "models.py").write_text("")
    status, _, err = place.run("-c", "import models, bench", script=None)
    assert status == 1
    assert err.splitlines()[-1] == (
        f"ImportError: {tmp_path}/models.py hides the package 'models' of quantization-bench; "
        "rename it"
    )


@pytest.mark.faults
def test_what_this_project_hides_of_a_users_is_named(tmp_path: Path) -> None:
    """A package `models` of their own, as a network and as what their network imports."""
    place = Place(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    (tmp_path / "models" / "mynet.py").write_text("def net(): ...\n")
    (tmp_path / "my_net.py").write_text("from models.mynet import net\n")
    names = ("models.mynet:net", "my_net:net")
    lines = [["run", *FAST, f"model.name={name}", "model.weights=none"] for name in names]
    _, out, _ = place.run(json.dumps(lines), script="several")
    said = out.splitlines()
    assert (len(said), said[1], said[3]) == (4, "status 1", "status 1")
    for name, line in zip(names, said[::2], strict=True):
        assert line.startswith(
            f"error: cannot import {name!r}: {tmp_path}/models has the name of one of this "
            "project's packages; rename it ("
        )


NETWORK = """\
import torch
from models.preprocessing import Preprocessing
from pytorchcv.models.resnet_cifar import resnet20_cifar10

preprocessing = Preprocessing(32, 32, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

def net():
    torch.manual_seed(0)
    return resnet20_cifar10(num_classes=10)
"""


@pytest.mark.slurm  # of joblib: tests.launchers.test_joblib
def test_jobs_of_a_launcher_find_this_project_and_a_users_network(place: Place) -> None:
    (place.folder / "my_networks.py").write_text(NETWORK)
    line = (
        *("-m", *FAST, "hydra/launcher=submitit_local", "paths.outputs=submitit_local"),
        *("model.name=my_networks:net", "model.weights=none", "seed=0,1"),
    )
    status, out, err = place.run("run", *line)
    assert status == 0, out + err
    assert out.splitlines()[-1] == "2 cells: 2 done"


@pytest.mark.faults
def test_the_guard_of_a_time_limit_works_beside_them(
    place: Place, tmp_path: Path, make_result: Callable[..., Result]
) -> None:
    (tmp_path / "result.json").write_text(make_result(status="failed").model_dump_json())
    process = place.start(tmp_path, script="limit")
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGSTOP)  # so only the guard can end it
    _, err = process.communicate(timeout=60)
    assert err.startswith("error: resnet20 mnist5k gaussian W4A8 seed 1: time limit: 1 s")
    assert [record["status"] for record in records(tmp_path).values()] == ["failed"]


@pytest.mark.faults
def test_uploads_work_beside_them(place: Place, tmp_path: Path) -> None:
    """With a package instead of W&B's that puts its mark on each run."""
    (tmp_path / "wandb" / "cli").mkdir(parents=True)
    for package in ("wandb", "wandb/cli"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "wandb" / "cli" / "cli.py").write_text(
        "from pathlib import Path\n"
        "def cli(args):\n"
        "    for run in args[2:]: (Path(run) / 'run.wandb.synced').touch()\n"
    )
    run = tmp_path / "outputs" / "wandb" / "offline-run-1"
    run.mkdir(parents=True)
    status, out, err = place.run(run, script="upload", path=(TOP, tmp_path))
    assert (status, out, err) == (0, "[]\n", "")


@pytest.mark.slow
def test_the_processes_of_a_training_work_beside_them(place: Place) -> None:
    status, out, err = place.run("run", *TRAINING)
    assert status == 0, out + err


@pytest.mark.slow
def test_joined_machines_work_beside_them(place: Place) -> None:
    at = free_address()
    joined = place.start("join", at, "--machine", "1")
    line = (*TWO_MACHINES, "method.schedule.epochs=1", "seed=1")
    status, out, err = place.run("run", *line, f"runtime.address={at}")
    assert status == 0, out + err
    heard, err = joined.communicate(timeout=60)
    assert joined.returncode == 0, err
    assert heard.splitlines()[-1] == "the first machine has finished its command; trainings here: 1"
