"""What a process keeps from one cell to the next."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.cells.result import Result
from bench.data.listings import Listings
from bench.measure.networks import Networks


@dataclass(frozen=True)
class Resources:
    """What one command keeps, from its start to its end, in each process that measures cells.

    It is made where a command starts and handed down; a launcher's worker makes its own. No number
    depends on it: with new resources the next cell takes longer, and nothing else.

    listings: image folders, as they were when the command first looked at them.
    networks: the last float networks, on the device.
    failed_floats: float cells that failed, by folder of results and id: the cells of a sweep that
        need one fail at once. The next command tries again.
    """

    listings: Listings = field(default_factory=Listings)
    networks: Networks = field(default_factory=Networks)
    failed_floats: dict[tuple[Path, str], Result] = field(default_factory=dict)
