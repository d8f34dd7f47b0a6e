"""What a process keeps from one cell to the next."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.cells.result import Result
from bench.data.feed import ResidentImages
from bench.data.imageset import CheckedImages
from bench.data.listings import Listings
from bench.machine.share import GpuClaim
from bench.measure.logits import FloatLogits
from bench.measure.networks import Networks
from bench.training.host import Hosting


@dataclass(frozen=True)
class Resources:
    """What one command keeps, from its start to its end, in each process that measures cells.

    It is made where a command starts and handed down; a launcher's worker makes its own. No number
    depends on it: with new resources the next cell takes longer, and nothing else.

    gpus: the GPU that this process has taken where there are several.
    listings: image folders, as they were when the command first looked at them.
    checked: which decoded images were found right.
    networks: the last float networks, on the device.
    logits: of the last float network.
    resident: the evaluation set that stays on a GPU.
    hosting: the machines that take part in trainings, where the command allows for them.
    failed_floats: float cells that failed, by folder of results and id: the cells of a sweep that
        need one fail at once. The next command tries again.
    """

    gpus: GpuClaim = field(default_factory=GpuClaim)
    listings: Listings = field(default_factory=Listings)
    checked: CheckedImages = field(default_factory=CheckedImages)
    networks: Networks = field(default_factory=Networks)
    logits: FloatLogits = field(default_factory=FloatLogits)
    resident: ResidentImages = field(default_factory=ResidentImages)
    hosting: Hosting = field(default_factory=Hosting)
    failed_floats: dict[tuple[Path, str], Result] = field(default_factory=dict)
