"""Places that are full or cannot be written, without being somebody special where possible."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A mount in a namespace of its own is seen by its processes alone and goes with the last of them.
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Return whether this user may mount in a namespace of its own, as Linux mostly allows."""
    try:
        line = (*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt")
        return subprocess.run(line, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def mounted(mount: str, script: str, *arguments: Path | str) -> None:
    """Run a shell script ($1, $2, ... are `arguments`) after a mount that is gone when it ends.

    `bench` is the command. Skips, and says why, where nothing can be mounted.
    """
    if not can_mount():
        pytest.skip("needs namespaces of users and mounts (unshare --user --mount)")
    bench = f'bench() {{ "{sys.executable}" -m bench "$@"; }}'
    text = f"set -eu\n{mount}\n{bench}\n{script}"
    line = (*_NAMESPACE, "sh", "-c", text, "sh", *map(str, arguments))
    # Which commands that ran in this process have set.
    env = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=500, check=False, env=env)
    assert done.returncode == 0, (done.stdout, done.stderr)
