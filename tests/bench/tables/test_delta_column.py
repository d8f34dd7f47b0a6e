"""Delta_B as a column of what was measured."""

import pandas as pd
import pytest

from bench.tables.delta import delta_b_column


def cells(rows: list[tuple[str, int, int, float | None]]) -> pd.DataFrame:
    """Return cells of method, bits, seed and top-1; None where it is not run."""
    return pd.DataFrame(
        [
            {
                "model": "resnet20",
                "weights": "default",
                "data": "mnist5k",
                "method": method,
                "w_bits": bits,
                "a_bits": bits,
                "seed": seed,
                "status": "missing" if top1 is None else "done",
                "top1": top1,
            }
            for method, bits, seed, top1 in rows
        ]
    )


def test_by_hand() -> None:
    alone = [("individual", 8, 0, 90.0), ("individual", 2, 0, 80.0)]
    other = [("joint", 8, 0, 81.0), ("joint", 8, 1, 90.0), ("joint", 2, 0, 40.0)]
    rows = [*alone, *other, ("joint", 2, 1, 80.0), ("dq", 8, 0, 9.0), ("dq", 2, 0, None)]
    # 90 % and 50 %; 100 % and 100 %: mean 85, standard deviation 30 / sqrt(2).
    assert delta_b_column(cells(rows)) == ["100.00", "85.00 ± 21.21", "not run"]


def test_each_network_has_a_reference_of_its_own() -> None:
    rows = [("individual", 8, 0, 90.0), ("individual", 2, 0, 80.0), ("joint", 8, 0, 45.0),
            ("joint", 2, 0, 40.0)]  # fmt: skip
    better = cells(rows)
    worse = cells([(method, bits, seed, (top1 or 0) / 2) for method, bits, seed, top1 in rows])
    both = pd.concat([better, worse.assign(model="resnet18")], ignore_index=True)
    assert delta_b_column(both) == ["100.00", "50.00", "100.00", "50.00"]


def test_of_several_references_the_one_with_the_same_parameters() -> None:
    rows = [("individual", 8, 0, 90.0), ("individual", 2, 0, 80.0), ("joint", 8, 0, 45.0),
            ("joint", 2, 0, 40.0)]  # fmt: skip
    short = cells(rows).assign(**{"method.epochs": 1})
    long = cells([(m, bits, seed, 10.0) for m, bits, seed, _ in rows]).assign(
        **{"method.epochs": 2}
    )
    other = cells([("dq", 8, 0, 45.0), ("dq", 2, 0, 40.0)]).assign(**{"method.epochs": 3})
    found = delta_b_column(pd.concat([short, long, other], ignore_index=True))
    assert found == ["100.00", "50.00", "100.00", "100.00", ""]


def test_activation_bits_tell_columns_apart() -> None:
    rows = [("individual", 8, 0, 90.0), ("individual", 2, 0, 80.0), ("joint", 8, 0, 45.0),
            ("joint", 2, 0, 40.0)]  # fmt: skip
    low, high = cells(rows), cells([(m, b, s, 80.0) for m, b, s, _ in rows]).assign(a_bits=8)
    # W8A8 is there twice, and 80 the later one: 80/80, 80/80 and 40/80 of individual's.
    assert delta_b_column(pd.concat([low, high], ignore_index=True)) == ["100.00", "83.33"]


@pytest.mark.parametrize(
    "rows",
    [
        [("real", 8, 0, 90.0), ("real", 2, 0, 80.0), ("zeroq", 8, 0, 1.0), ("zeroq", 2, 0, 1.0)],
        [("individual", 8, 0, 90.0), ("joint", 8, 0, 80.0)],
        [("individual", 8, 0, 90.0), ("individual", 2, 0, 80.0)],
    ],
    ids=["no reference", "one bit-width", "one method"],
)
def test_where_it_has_no_meaning(rows: list[tuple[str, int, int, float | None]]) -> None:
    assert delta_b_column(cells(rows)) is None
