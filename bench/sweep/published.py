"""What a cell is decided against: of the paper's table that its experiment is of."""

from collections.abc import Sequence
from dataclasses import replace

from bench.cells.request import Request
from bench.config.experiments import experiment_of
from bench.papers.by_name import table_names


def with_published_drop(request: Request, overrides: Sequence[str]) -> Request:
    """Return `request` with the published drops that it is to be decided against.

    It stays as it is unless that is asked for (evaluate.until=resolved) and the `overrides` that
    were typed for it name the experiment of a paper's table and no evaluate.published_drop.

    Raises BenchError for tables or numbers that cannot be read.
    """
    asked, name = request.config.evaluate, experiment_of(overrides)
    if asked.until != "resolved" or asked.published_drop is not None or name not in table_names():
        return request
    from bench.papers.targets import published_drops

    known = asked.model_copy(update={"published_drop": published_drops(request, name)})
    return replace(request, config=request.config.model_copy(update={"evaluate": known}))
