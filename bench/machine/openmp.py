"""How the threads of PyTorch's operators wait for each other.

An operator ends when its last thread does, and the others wait for it by spinning. On cores that
are shared with other processes a thread then spins while the one it waits for has no core to run
on: GNU's runtime does so for many milliseconds, and a forward pass takes up to 60 times its fair
share of the machine. Not to spin at all costs a fifth of the time on idle cores. `make bench`
measures both (`bench.speed.waiting`).
"""

from collections.abc import MutableMapping

SPIN = {
    "GOMP_SPINCOUNT": "10000",  # GNU's runtime, in turns of its loop: that of PyTorch for Linux
    "KMP_BLOCKTIME": "1",  # Intel's and LLVM's, in milliseconds: that of conda and macOS
}
"""What bounds the spinning, by the name of the variable. A runtime ignores those of the others."""

_CHOICES = {*SPIN, "OMP_WAIT_POLICY"}


def bound_spinning(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait spin for less than a millisecond, then sleep.

    A variable of the user's that says how threads wait is left to have its way. The runtime reads
    these when PyTorch is first imported; later they serve the processes that this one starts.
    """
    if not _CHOICES & environment.keys():
        environment.update(SPIN)
