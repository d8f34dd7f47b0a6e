"""`python -m bench` is `bench`."""

import os
import sys
from contextlib import suppress

# Python puts the folder where the command is typed first, `bench` puts it last.
with suppress(OSError):  # the folder is gone, and the command says so
    if sys.path[:1] == [os.getcwd()]:  # noqa: PTH109
        del sys.path[0]

from bench.cli import command

command()
