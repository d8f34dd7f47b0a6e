"""How threads wait, before PyTorch is imported."""

import json
import os
import subprocess
import sys

import pytest

from bench.machine.openmp import SPIN, bound_spinning


@pytest.mark.parametrize(
    ("environment", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}),
        ({"OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "4", **SPIN}),  # says nothing of waiting
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"KMP_BLOCKTIME": "infinite"}, {"KMP_BLOCKTIME": "infinite"}),
    ],
)
def test_a_variable_of_the_users_has_its_way(
    environment: dict[str, str], after: dict[str, str]
) -> None:
    bound_spinning(environment)
    assert environment == after


@pytest.mark.parametrize("module", ["bench.cli", "bench.sweep", "bench.machine"])
def test_it_is_said_before_pytorch_can_be_imported(module: str) -> None:
    program = (
        "import json, os, sys\n"
        "class Spy:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('torch', 'bench.machine.openmp'): seen.append(name)\n"
        "seen = []\n"
        "sys.meta_path.insert(0, Spy())\n"
        f"import {module}\n"
        "print(json.dumps([seen[0], os.environ.get('GOMP_SPINCOUNT')]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in SPIN}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["bench.machine.openmp", "10000"]
