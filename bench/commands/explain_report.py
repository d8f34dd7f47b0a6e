"""What `bench explain` says, before it measures and at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from bench.papers.explanation import Levels, Match, Target
from bench.papers.factors import Factor
from bench.statistics.factorial import Effect


def plan_in_words(
    title: str, factors: Sequence[Factor], left: Sequence[Factor], cells: int, more: int
) -> Iterator[str]:
    """Yield the choices that are tried, those that are left out, and how many cells it takes."""
    count = len(factors) + len(left)
    yield f"{title}: {count} {'choice is' if count == 1 else 'choices are'} left open"
    for factor in factors:
        yield f"  {factor.name}: {' or '.join(factor.levels)}"
    if left:
        yield f"  not tried: {', '.join(factor.name for factor in left)}"
    yield f"{cells} cells say what each of them changes, up to {more} more which recipes fit"


def report(
    title: str,
    target: Target,
    factors: Sequence[Factor],
    effects: Sequence[Effect],
    matches: Sequence[Match],
    command: Callable[[Levels], str],
) -> Iterator[str]:
    """Yield what was found: effects of the choices, recipes that fit, and what to type for them."""
    of_drop = target.drop is not None
    what = f"drop of {target.drop:.2f} points" if of_drop else f"top-1 of {target.top1:.2f} %"
    yield f"{title}: a {what} to explain"
    yield ""
    yield "what each choice changes in top-1, in points, on average over the others [95 %, images]"
    yield ""
    order = sorted(range(len(factors)), key=lambda i: -abs(effects[i].points))
    rows = [
        {
            "choice": factors[i].name,
            "from": factors[i].levels[0],
            "to": factors[i].levels[1],
            "effect": f"{effects[i].points:+.2f} [{effects[i].low:+.2f}, {effects[i].high:+.2f}]",
        }
        for i in order
    ]
    yield _text(rows)
    yield ""
    fitting = sorted((m for m in matches if m.explains), key=lambda m: abs(m.away))
    yield f"{len(fitting)} of {len(matches)} measured recipes have the number in their interval"
    shown = fitting or sorted(matches, key=lambda m: abs(m.away))[:1]
    if not fitting:
        yield "the nearest:"
    yield ""
    yield _text([_row(m, factors, order, of_drop) for m in shown])
    yield ""
    yield "commands:"
    for found in shown:
        yield f"  {found.id[:8]}  {command(found.levels)}"


def _row(
    found: Match, factors: Sequence[Factor], order: Sequence[int], of_drop: bool
) -> dict[str, str]:
    row = {"cell": found.id[:8]}
    row["drop" if of_drop else "top-1"] = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    row["away"] = f"{found.away:+.2f}"
    return row | {factors[i].name: factors[i].levels[found.levels[i]] for i in order}


def _text(rows: Sequence[Mapping[str, str]]) -> str:
    table = pd.DataFrame(rows)
    return table.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
