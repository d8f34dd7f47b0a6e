"""`bench join`: take part in the trainings of a `bench run` on another machine."""

import os
import sys
from argparse import Namespace

from bench.console import say, show_log
from models.errors import BenchError


def join(options: Namespace) -> int:
    """Return 0 when the other command has come to its end, 1 when it is gone or never there.

    Raises BenchError when this machine does not fit to it.
    """
    if options.overrides:
        raise BenchError(f"bench join takes no {options.overrides[0]!r}; give it to bench run")
    # Read as PyTorch is imported: the end of a connection is said here, in one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    from bench.training.guest import Lost, take_part
    from bench.training.host import read_address

    show_log()
    try:
        done = take_part(read_address(options.address), options.machine, options.wait)
    except Lost as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    say(f"the first machine has finished its command; trainings here: {done}")
    return 0
