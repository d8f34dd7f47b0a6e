"""What W&B's own reader finds in an offline run."""

import subprocess
from importlib.util import find_spec
from pathlib import Path


def read_run(run: Path, *options: str) -> str:
    """Return what `wandb leet inspect` prints of the folder of a run.

    Its program is started without the `wandb` before it, which takes a second to find it.
    """
    package = find_spec("wandb")
    assert package is not None and package.origin is not None
    core = Path(package.origin).parent / "bin" / "wandb-core"
    (file,) = run.glob("run-*.wandb")
    command = [core, "leet", "inspect", "--no-observability", *options, "--run-file", file]
    done = subprocess.run([*command, run.parent], capture_output=True, text=True, check=True)
    return done.stdout
