"""`bench status`: how far the cells of an experiment, or of everything, are."""

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

from bench.cells.differences import beside_label, differences, recorded_values
from bench.cells.lookup import find_results
from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.experiments import outputs_of, run_command
from bench.console import say
from bench.tasks.registry import CLASSIFICATION


def status(arguments: Namespace) -> int:
    """Print counts by status, then what is missing or failed; always returns 0."""
    inventory = Store(outputs_of(arguments.overrides)).inventory()
    if arguments.experiment:
        _of_experiment(arguments, inventory.results)
    else:
        _of_everything(inventory.results)
    if (note := inventory.note()) is not None:
        say(note)
    return 0


def _of_everything(results: list[Result]) -> None:
    if not results:
        say("no cell is measured yet; `bench run -m experiment=demo` measures some")
    for group in sorted({result.group for result in results}):
        cells = [result for result in results if result.group == group]
        say(f"{group}: {_counts(Counter(cell.status for cell in cells))}")
        for cell, name in zip(cells, _names(cells), strict=True):
            what = f"{cell.status}: {cell.reason}"
            if cell.status == "done":
                title = "" if cell.task == CLASSIFICATION else f"{cell.of_task.headline.title} "
                what = f"{title}{cell.headline:.2f} %{_part(cell)}"
            say(f"  {cell.id}  {name}  {what}")


def _of_experiment(arguments: Namespace, results: list[Result]) -> None:
    name, user_configs = arguments.experiment, arguments.config_dir
    requests = experiment_requests(name, arguments.overrides, user_configs)
    cells = find_results(requests, results)
    counts = Counter(result.status if result else "missing" for result in cells)
    say(f"{name}: {len(requests)} cells: {_counts(counts)}")
    for cell in cells:
        if cell is not None and cell.part_of is not None:
            say(f"  a part of the images  {cell.label}{_part(cell)}")
    measured = [result for result in cells if result is not None]
    names = {r.id: name for r, name in zip(measured, _names(measured), strict=True)}
    for request, result in zip(requests, cells, strict=True):
        if result is None:
            say(f"  missing  {run_command(request.overrides, user_configs)}")
        elif result.status != "done":
            say(f"  {result.status}  {names[result.id]}: {result.reason}")


def _part(cell: Result) -> str:
    """Return how many of how many images a cell has seen, where that is a part of them."""
    return "" if cell.part_of is None else f" ({cell.of_task.in_words(vars(cell))})"


def _names(cells: Sequence[Result]) -> list[str]:
    """Return the label of each cell, with whatever else tells it from the others."""
    differing = differences([recorded_values(cell) for cell in cells])
    return [
        " ".join([cell.label, *beside_label(cell, words)])
        for cell, words in zip(cells, differing, strict=True)
    ]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
