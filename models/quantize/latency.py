"""A table of measured latencies: of each layer at each number of weight and activation bits.

Two files are read. CSV, with a line for each entry and this first line:

    layer,w_bits,a_bits,ms

`layer` is the name of the module. And HAQ's lookup tables (mit-han-lab/haq, lib/simulator): a NumPy
array (layers, weight bits, activation bits) in the order in which the network calls its
convolutions and linear layers, bits from 1 up along both axes; what was not measured is NaN there.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.errors import BenchError


class Entry(NamedTuple):
    """A line of the CSV file."""

    layer: str
    w_bits: int
    a_bits: int
    ms: float


_COLUMNS = Entry._fields


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds by (weight bits, activation bits), of layers by name or in the order of calls.

    source: the file, for messages. by_name, in_order: one of them is empty.
    """

    source: str
    by_name: Mapping[str, Mapping[tuple[int, int], float]]
    in_order: Sequence[Mapping[tuple[int, int], float]] = ()

    def named(self, layers: Sequence[str]) -> "LatencyTable":
        """Return the table with the names of `layers`, those of a network in the order of calls.

        Raises BenchError for one that it lacks.
        """
        known = dict(zip(layers, self.in_order, strict=False)) if self.in_order else self.by_name
        for place, layer in enumerate(layers):
            if layer not in known:
                what = f"the layer {layer!r}"
                if self.in_order:
                    what += f", number {place + 1} of {len(layers)}: it has {len(self.in_order)}"
                raise BenchError(f"quant.latency_table={self.source} lacks {what}")
        return LatencyTable(self.source, known)

    def ms(self, layer: str, w_bits: float, a_bits: float) -> float:
        """Return the latency of a layer.

        w_bits: 0 where it is pruned; a float is a mean over output channels, and lies in proportion
            between the nearest that the table has, 0 bits taking no time.

        Raises BenchError for an entry that the table lacks.
        """
        entries = self.by_name[layer]
        if w_bits == 0:
            return 0.0
        known = {0: 0.0} | {w: ms for (w, a), ms in entries.items() if a == a_bits}
        if w_bits in known:
            return known[int(w_bits)]
        if isinstance(w_bits, float) and w_bits < max(known):
            below = max(w for w in known if w < w_bits)
            above = min(w for w in known if w > w_bits)
            share = (w_bits - below) / (above - below)
            return (1 - share) * known[below] + share * known[above]
        raise BenchError(
            f"quant.latency_table={self.source} lacks the layer {layer!r} at {w_bits:g} bits "
            f"of the weight and {a_bits:g} of the input"
        )


def read_latency_table(path: Path) -> LatencyTable:
    """Return the table in a file; raises BenchError for one that cannot be read."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
            if values.ndim != 3:
                raise ValueError(f"an array of shape {values.shape}, not (layers, w_bits, a_bits)")
            return LatencyTable(
                str(path), {}, [_of_array(str(n), of) for n, of in enumerate(values, 1)]
            )
        return LatencyTable(str(path), _of_csv(path))
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BenchError(
            f"quant.latency_table={path} cannot be read: {reason}; give a CSV file with the "
            f"columns {','.join(_COLUMNS)}, or a .npy array (layers, w_bits, a_bits)"
        ) from error


def _of_array(layer: str, values: Any) -> dict[tuple[int, int], float]:
    known = {bits: float(ms) for bits, ms in np.ndenumerate(values) if not np.isnan(ms)}
    return {(w + 1, a + 1): _possible(layer, (w + 1, a + 1), ms) for (w, a), ms in known.items()}


def _possible(layer: str, bits: tuple[int, int], ms: float) -> float:
    """Return `ms`; raises ValueError where nothing takes so long."""
    if not 0 <= ms < np.inf:
        raise ValueError(f"layer {layer!r} has {ms:g} ms at {bits[0]} and {bits[1]} bits")
    return ms


def csv_text(entries: Iterable[Entry]) -> str:
    """Return the CSV file of `entries`, milliseconds to four digits."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_COLUMNS)
    lines.writerows((*entry[:3], f"{entry.ms:.4g}") for entry in entries)
    return text.getvalue()


def _of_csv(path: Path) -> dict[str, dict[tuple[int, int], float]]:
    table: dict[str, dict[tuple[int, int], float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != _COLUMNS:
            raise ValueError(f"its first line is {','.join(rows.fieldnames or ())!r}")
        for row in rows:
            if None in row.values() or None in row:
                raise ValueError(f"line {rows.line_num} has not {len(_COLUMNS)} values")
            bits = int(row["w_bits"]), int(row["a_bits"])
            ms = _possible(row["layer"], bits, float(row["ms"]))
            table.setdefault(row["layer"], {})[bits] = ms
    return table
