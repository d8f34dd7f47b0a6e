"""`bench latency`: a table of what the layers of a network take on this machine."""

from argparse import Namespace
from pathlib import Path

from bench.config.compose import compose
from bench.config.schema import read_config
from bench.console import say, show_log
from bench.files.whole import write_whole
from models.errors import BenchError
from models.export.packages import check_packages

_OF_MODEL = ("model=", "model.")
_MOST_IMAGES = 1024


def latency(arguments: Namespace) -> int:
    """Time each layer in integers and in float, write the table to `--out`, print sums; return 0.

    Raises BenchError for an override of anything but the model, for numbers that make no sense, and
    for a file that is there already or has no folder.
    """
    show_log()
    path = _checked(arguments)
    check_packages()
    import torch

    from bench.cells.request import request_of
    from bench.machine.device import Device
    from bench.measure.clock import Clock
    from bench.measure.networks import Networks
    from bench.speed.latency import entries, timed_layers
    from models.quantize.latency import csv_text

    request = request_of(read_config(compose(arguments.overrides)))
    device, images = Device(torch.device("cpu")), arguments.images
    network = Networks().get(request.entry.name, request.weights, device).network
    image = request.weights.preprocessing.blank()
    with Clock().phase("latency") as progress:
        found = timed_layers(network, image, images, arguments.seconds, progress)
    write_whole(path, csv_text(entry for timed in found for entry in entries(timed)))
    integer, floating = (
        sum(timed.calls * getattr(timed, f"{kind}_ms") for timed in found)
        for kind in ("integer", "float")
    )
    say(
        f"{request.entry.name}: {len(found)} layers, {images} at once, one thread; "
        f"{integer:.4g} ms an image in integers of 8 bits, {floating:.4g} ms in float"
    )
    say(f"{path}: weights of 2 to 8 bits beside inputs of 8 take what 8 bits take, all else float")
    return 0


def _checked(arguments: Namespace) -> Path:
    path: Path = arguments.out
    for override in arguments.overrides:
        if not override.startswith(_OF_MODEL):
            raise BenchError(f"bench latency takes no {override!r}; give model=NAME only")
    if not 1 <= arguments.images <= _MOST_IMAGES:
        raise BenchError(f"--images {arguments.images}: give 1 to {_MOST_IMAGES}")
    if not 0 < arguments.seconds < float("inf"):
        raise BenchError(f"--seconds {arguments.seconds:g}: give a positive number")
    if path.suffix != ".csv":
        raise BenchError(f"--out {path}: give a file that ends in .csv")
    if not path.parent.is_dir():
        raise BenchError(f"--out {path}: there is no folder {path.parent}; make it first")
    if path.exists():
        raise BenchError(f"--out {path} is there already; remove it, or name another")
    return path
