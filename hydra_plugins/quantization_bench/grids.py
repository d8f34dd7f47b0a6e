"""Hydra sweeper for an experiment that no single grid describes, such as the table of a paper.

Hydra takes sweepers from the package `hydra_plugins` only. An experiment chooses this one with
`override /hydra/sweeper: grids`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from bench.grids import jobs_of_grids


class GridsSweeper(BasicSweeper):
    """Runs the jobs of every grid of `grids`, each a mapping of keys to lists of values."""

    def __init__(
        self,
        grids: Sequence[Mapping[str, Any]],
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self._grids = grids

    def split_arguments(  # type: ignore[override]  # static in the base, which calls it on self
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return the jobs in batches of at most `max_batch_size`."""
        jobs = jobs_of_grids(self._grids, [str(override.input_line) for override in overrides])
        return list(self.split_overrides_to_chunks(jobs, max_batch_size))
