"""What happens to one cell, and what comes of many."""

import os
import sys
from pathlib import Path

from bench.machine.openmp import bound_spinning

__version__ = "0.1.0"


def _import_siblings() -> None:
    """Import `methods` and `models` from beside this package, whatever else has these names.

    People call files of their own so, and the folder where a command is typed, or one of
    PYTHONPATH, may come first on the path.

    Raises ImportError where such a file is imported already.
    """
    folder = Path(__file__).parent.parent
    sys.path.insert(0, str(folder))
    try:
        import methods
        import models
    finally:
        sys.path.remove(str(folder))
    for package in (methods, models):
        if Path(package.__file__ or "").parent.parent != folder:
            raise ImportError(
                f"{package.__file__} hides the package {package.__name__!r} of quantization-bench; "
                "rename it"
            )


bound_spinning(os.environ)  # before anything imports PyTorch
_import_siblings()
