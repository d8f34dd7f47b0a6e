"""What one way of a tool comes to: which images are right, how long it takes, what it quantizes."""

import time
from collections.abc import Callable

import torch

from bench.data.feed import feed
from bench.measure.evaluate import evaluate
from bench.peers.base import Bits, Tool, Way
from bench.peers.grids import found_in
from bench.peers.place import Place, machine
from bench.peers.registry import version_of
from bench.peers.rows import Row, packed
from bench.speed.timing import alternate
from bench.tasks.classification import Correctness
from methods.base import no_progress
from models.errors import NotApplicable, first_line
from models.preprocessing import laid_out

_SECONDS = 3.0
_IMAGES_TO_LOOK_AT = 4


def measured(tool: Tool, way: Way, bits: Bits, place: Place) -> Row:
    """Return the row of a way at `bits`; what the tool raises becomes its reason.

    Seconds are of the processor where it computes, because other processes do not move them; on a
    GPU of the clock. Random numbers start from the seed of the cell.
    """
    about: dict[str, object] = {"tool": tool.name, "version": version_of(tool), "method": way.name}
    about |= {"w_bits": bits.weights, "a_bits": bits.activations}
    where = machine(place.device)
    try:
        outcome = _outcome(way, bits, place)
    except NotApplicable as error:
        outcome = {"reason": first_line(error)}
    except Exception as error:  # of another's code: whatever it is, the others go on
        outcome = {"reason": f"failed: {type(error).__name__}: {first_line(error)}"}
    return Row.model_validate(place.conditions.model_dump() | about | where | outcome)


def _outcome(way: Way, bits: Bits, place: Place) -> dict[str, object]:
    clock = _clock(place.device.device)
    torch.manual_seed(place.cell.seed)
    start = clock()
    network = way.quantize(place.network, place.calibration, *bits)
    quantize_s = clock() - start
    fed = feed(place.images, place.device.device, place.resources.resident)
    run = evaluate(
        network, fed, place.preprocessing, place.device, no_progress, place.cell.task, compile=False
    )
    assert isinstance(run.items, Correctness)
    right = run.items.top1
    at_once = min(place.device.images_at_once(place.preprocessing.places), len(place.images))
    batch = place.preprocessing.normalise(fed.pixels(0, at_once))
    batch = laid_out(batch, place.device.memory_format)
    sides = {"float": lambda: place.network(batch), "quantized": lambda: network(batch)}
    with torch.inference_mode():
        seconds = alternate(sides, _SECONDS, place.device.device, clock)
    found = found_in(network, batch[:_IMAGES_TO_LOOK_AT], bits)
    return {
        "correct": int(right.sum()),
        "right": packed(right),
        "layers": found.layers,
        "low_weights": found.low_weights,
        "low_inputs": found.low_inputs,
        "weights_percent": round(found.weights, 2),
        "quantize_s": round(quantize_s, 3),
        "float_s": round(seconds["float"] * len(place.images) / at_once, 3),
        "evaluate_ratio": round(seconds["quantized"] / seconds["float"], 3),
    }


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cuda":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised
