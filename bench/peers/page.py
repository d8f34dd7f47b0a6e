"""A table of peers as it is kept: the rows of its CSV file in order, with what each tool does."""

from collections.abc import Sequence

from bench.peers import floating, ours
from bench.peers.base import Tool
from bench.peers.registry import NAMES, tool
from bench.peers.rows import Job, Row
from bench.peers.table import markdown


def page(rows: Sequence[Row]) -> str:
    """Return the Markdown of rows; a way that no tool has any more is left out."""
    order = [(each.name, way.name) for each in (floating.TOOL, *_tools()) for way in each.ways]
    known = [row for row in rows if (row.tool, row.method) in order]
    known.sort(key=lambda row: order.index((row.tool, row.method)))
    there = {row.tool for row in known}
    notes = [f"{each.name}: {each.note}" for each in _tools() if each.name in there]
    return markdown(known, ours.TOOL.name, [*notes, *_absent(known)])


def _absent(rows: Sequence[Row]) -> list[str]:
    """Return a line on what was measured at no bits, or not at some that others were."""
    there = {row.job for row in rows}
    bits = dict.fromkeys(row.bits for row in rows if row.bits != floating.BITS)
    jobs = [Job(each.name, way.name, b) for each in _tools() for way in each.ways for b in bits]
    absent = [f"{job.tool} {job.method} at {job.bits.label}" for job in jobs if job not in there]
    return [f"not measured: {'; '.join(absent)}"] if absent else []


def _tools() -> list[Tool]:
    return [tool(name) for name in NAMES]
