"""The versions of packages and of this code."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import __version__

_PACKAGES = ("torch", "torchvision", "timm", "pytorchcv", "numpy", "pillow", "hydra-core")


@cache
def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    by_package = {"python": platform.python_version(), "quantization-bench": __version__}
    for package in _PACKAGES:
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:
            continue
    return by_package


@cache
def git_sha() -> str | None:
    """Return the commit this code runs from, None when it is not a checkout of its own."""
    top = Path(__file__).parents[2]
    if not (top / ".git").exists():
        return None

    def git(*args: str) -> str:
        command = ["git", "-C", str(top), *args]
        done = subprocess.run(command, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
