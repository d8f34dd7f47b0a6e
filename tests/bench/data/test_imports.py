"""Listing what there is must stay quick."""

import subprocess
import sys


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, bench.data; bench.data.DATASETS.names();"
        "print([m for m in ('torch', 'PIL', 'mlxtend', 'pandas', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
