import copy
from typing import Any

import pytest

from bench.dashboard.layers import layer_choice
from bench.dashboard.pool import Pool

SAID: dict[str, Any] = {
    "budget": {},
    "size_mb": 1.5,
    "cost": 0.25,
    "frontier": [[i, 1000 - i] for i in range(1000)],
    "layers": [
        {"layer": "a", "bits": 4, "sensitivity": {"2": 0.5, "4": 0.25}},
        {"layer": "b", "bits": 8, "sensitivity": None},
    ],
}


def test_what_is_shown() -> None:
    pool = Pool()
    shown = layer_choice(SAID, pool)
    assert shown is not None
    assert (shown["size_mb"], shown["cost"], shown["bits"]) == (1.5, 0.25, [4, 8])
    assert (len(shown["frontier"]), shown["frontier"][-1]) == (120, [999.0, 1.0])
    assert not {"inputs", "channels"} & shown.keys()
    assert pool.values == [[["a", {"2": 0.5, "4": 0.25}], ["b", None]]]


def test_what_is_shown_of_a_search_by_trying() -> None:
    episodes = [{"episode": i, "reward": -1 / (i + 1), "top1": 90.0} for i in range(300)]
    layers = [{"layer": "a", "bits": 2.5, "sensitivity": None, "channel_bits": [2, 3]}]
    layers.append({"layer": "b", "bits": 4, "sensitivity": None, "input_bits": 6})
    said = {"size_mb": 1.5, "episodes": episodes, "layers": layers}
    shown = layer_choice(said, Pool())
    assert shown is not None
    assert (shown["bits"], shown["inputs"], shown["channels"]) == (
        [2.5, 4],
        [None, 6],
        [[2, 3], None],
    )
    assert (len(shown["rewards"]), shown["rewards"][-1]) == (120, [299, -1 / 300])
    assert "frontier" not in shown
    trained = layer_choice({"size_mb": 1.5, "layers": layers}, Pool())
    assert trained is not None and not {"frontier", "rewards"} & trained.keys()


def test_budgets_share_their_sensitivities() -> None:
    pool = Pool()
    other = copy.deepcopy(SAID)
    other["layers"][0]["bits"] = 2
    shown = [layer_choice(said, pool) for said in (SAID, other)]
    assert [one["sensitivities"] for one in shown if one] == [0, 0]
    assert len(pool.values) == 1


@pytest.mark.parametrize("key", ["layers", "size_mb", "frontier", "cost"])
def test_another_file_is_none(key: str) -> None:
    assert layer_choice(None, Pool()) is None
    if key != "size_mb":  # which of a training its result has
        assert layer_choice({k: v for k, v in SAID.items() if k != key}, Pool()) is None
    assert layer_choice(SAID | {key: "text"}, Pool()) is None


def test_a_pool_keeps_equal_values_once_in_order() -> None:
    pool = Pool()
    assert [pool.add(v) for v in ({"a": 1, "b": 2}, "x", {"b": 2, "a": 1}, ["x"])] == [0, 1, 0, 2]
    assert pool.values == [{"a": 1, "b": 2}, "x", ["x"]]
