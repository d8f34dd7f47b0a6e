"""What a record says of the software it was made with."""

import re

import torch

from bench import __version__
from bench.machine import versions as module


def test_versions_name_the_packages_that_matter() -> None:
    versions = module.versions()
    assert versions["quantization-bench"] == __version__
    assert versions["torch"] == torch.__version__.partition("+")[0] or versions["torch"]
    assert {"python", "torchvision", "numpy", "pillow", "hydra-core"} <= versions.keys()


def test_git_sha_is_a_commit_or_nothing() -> None:
    sha = module.git_sha()
    assert sha is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", sha)
