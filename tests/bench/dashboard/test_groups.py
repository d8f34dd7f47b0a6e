from typing import Any

import pytest

from bench.dashboard.groups import seed_groups


def cell(id: str, top1: float, **changes: Any) -> dict[str, Any]:
    known = {
        **{"id": id, "status": "done", "context": 0, "method": "zeroq", "method_label": "zeroq"},
        **{"recipe": "", "bits": "W4A4", "bits_order": 4, "model": "m", "data": "d"},
        **{"w_bits": 4, "a_bits": 4, "top1": top1, "low": top1 - 2, "high": top1 + 1},
        **{"size_mb": 1.0, "seed": ord(id)},
    }
    return known | changes


def test_one_seed_has_the_interval_of_its_images() -> None:
    (group,) = seed_groups([cell("a", 90.0)])
    assert (group["mean"], group["low"], group["high"]) == (90.0, 88.0, 91.0)
    assert group["interval"] == "95 % Wilson interval of its images"
    assert group["cells"] == ["a"]


def test_two_seeds_have_none() -> None:
    (group,) = seed_groups([cell("a", 90.0), cell("b", 92.0)])
    assert (group["mean"], group["low"], group["high"]) == (91.0, None, None)


def test_three_seeds_have_a_t_interval_by_hand() -> None:
    (group,) = seed_groups([cell(i, v) for i, v in (("a", 90.0), ("b", 91.0), ("c", 92.0))])
    # deviation 1, t(0.975, 2) = 4.302653: half the width is 4.302653 / sqrt(3)
    assert group["low"] == pytest.approx(91 - 2.484138, abs=1e-5)
    assert group["high"] == pytest.approx(91 + 2.484138, abs=1e-5)
    assert group["interval"] == "95 % t-interval of 3 seeds"


def test_cells_of_another_recipe_method_bits_or_context_are_another_group() -> None:
    others = [{"recipe": "x"}, {"method_label": "y"}, {"bits": "W8A8"}, {"context": 1}]
    groups = seed_groups([cell("a", 1.0), *(cell("b", 1.0, **other) for other in others)])
    assert len(groups) == 5


def test_cells_of_one_seed_are_never_taken_together() -> None:
    seeds = {"a": 0, "b": 1, "c": 0}
    groups = seed_groups([cell(id, 90.0, seed=seed) for id, seed in seeds.items()])
    assert [group["cells"] for group in groups] == [["a"], ["b"], ["c"]]
    assert {group["interval"] for group in groups} == {"95 % Wilson interval of its images"}


def test_what_is_not_done_counts_for_nothing() -> None:
    assert seed_groups([cell("a", 0.0, status="failed")]) == []


def test_the_front_by_hand() -> None:
    points = {"a": (1.0, 50.0), "b": (1.0, 60.0), "c": (2.0, 60.0), "d": (3.0, 70.0)}
    cells = [cell(i, top1, size_mb=size, bits=i) for i, (size, top1) in points.items()]
    cells.append(cell("e", 99.0, size_mb=None, bits="e"))  # of unknown size: on no front
    cells.append(cell("f", 10.0, size_mb=0.5, bits="f", context=1))  # its own context
    on_front = {group["bits"] for group in seed_groups(cells) if group["front"]}
    assert on_front == {"b", "d", "f"}


def test_sizes_are_averaged_over_seeds_and_unknown_where_one_is() -> None:
    (group,) = seed_groups([cell("a", 1.0, size_mb=1.0), cell("b", 1.0, size_mb=2.0)])
    assert group["size_mb"] == 1.5
    (group,) = seed_groups([cell("a", 1.0, size_mb=1.0), cell("b", 1.0, size_mb=None)])
    assert group["size_mb"] is None
