"""`python -m bench` is `bench`."""

import os
import sys

# Python puts the folder where the command is typed first, `bench` puts it last.
if sys.path[:1] == [os.getcwd()]:  # noqa: PTH109
    del sys.path[0]

from bench.cli import command

command()
