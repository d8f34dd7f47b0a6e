from typing import Any

from bench.dashboard.groups import seed_groups


def cell(id: str, top1: float, **changes: Any) -> dict[str, Any]:
    known = {
        **{"id": id, "status": "done", "context": 0, "method": "zeroq", "method_label": "zeroq"},
        **{"recipe": "", "bits": "W4A4", "bits_order": 4, "model": "m", "data": "d"},
        **{"w_bits": 4, "a_bits": 4, "top1": top1, "low": top1 - 2, "high": top1 + 1},
        **{"size_mb": 1.0, "seed": ord(id)},
    }
    return known | changes


def test_seeds_are_one_group_with_their_mean_in_their_order() -> None:
    (group,) = seed_groups([cell("b", 92.0), cell("a", 90.0)])
    assert (group["mean"], group["cells"]) == (91.0, ["a", "b"])
    (group,) = seed_groups([cell("a", 90.0)])
    assert (group["mean"], group["cells"]) == (90.0, ["a"])


def test_cells_of_another_recipe_method_bits_or_context_are_another_group() -> None:
    others = [{"recipe": "x"}, {"method_label": "y"}, {"bits": "W8A8"}, {"context": 1}]
    groups = seed_groups([cell("a", 1.0), *(cell("b", 1.0, **other) for other in others)])
    assert len(groups) == 5


def test_cells_of_one_seed_are_never_taken_together() -> None:
    seeds = {"a": 0, "b": 1, "c": 0}
    groups = seed_groups([cell(id, 90.0, seed=seed) for id, seed in seeds.items()])
    assert [group["cells"] for group in groups] == [["a"], ["b"], ["c"]]


def test_what_is_not_done_counts_for_nothing() -> None:
    assert seed_groups([cell("a", 0.0, status="failed")]) == []
