"""Cells that are measured, but on another number of images than a table asks for."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from bench.cells.request import Request, reported_name, request_of
from bench.cells.result import Result


def other_limits(requests: Sequence[Request], results: Sequence[Result]) -> list[str]:
    """Return a line for each data.limit with which some of the missing cells are measured."""
    known = {result.request_id for result in results}
    limits: defaultdict[tuple[str, str], set[int | None]] = defaultdict(set)
    for result in results:
        if result.total is not None:
            limits[result.model, result.data] |= {None, result.recipe.evaluation.images}
    found = Counter[str]()
    for request in requests:
        if request.id in known:
            continue
        data = request.config.data
        for limit in limits[request.entry.name, reported_name(data)] - {data.get("limit")}:
            if _with_limit(request, limit).id in known:
                found["null" if limit is None else str(limit)] += 1
    return [
        f"{count} of the missing cells {'is' if count == 1 else 'are'} measured with "
        f"data.limit={limit}; repeat that here"
        for limit, count in sorted(found.items())
    ]


def _with_limit(request: Request, limit: int | None) -> Request:
    config = request.config
    data = config.data | {"limit": limit}
    return request_of(config.model_copy(update={"data": data}), request.overrides)
