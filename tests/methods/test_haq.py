"""HAQ and AutoQ as a whole, on networks small enough to try everything."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from methods.autoq import AutoQ
from methods.haq import HAQ, LayerWalk
from methods.search.agent import AgentOptions
from methods.search.base import Kept, SearchMethod
from models.errors import BenchError
from models.quantize.bits import ChosenBits, mean_of
from models.quantize.latency import LatencyTable
from models.quantize.spec import QuantSpec
from tests.methods.search.problems import Small, problem

SPEC = QuantSpec("mixed", 32, mean_bits=3, w_candidates=(2, 3, 4, 5))
QUICK: dict[str, Any] = {"episodes": 30, "random_episodes": 20, "updates": 1}
AGENT = AgentOptions(hidden=16)


class InMemory:
    """Keeps a copy of what is saved, and dies after so many times."""

    def __init__(self, dies_after: int = -1) -> None:
        self.state: dict[str, Any] | None = None
        self.left = dies_after

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        import copy

        self.state = copy.deepcopy(state)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_it_finds_the_best_of_all_assignments() -> None:
    network = Small()
    of = problem(network, SPEC)
    method = HAQ(agent=AGENT, **(QUICK | {"episodes": 60}))
    environment = method.environment(of)
    names = list(of.prices.sizes)
    every = [ChosenBits(dict(zip(names, b, strict=True))) for b in product((2, 3, 4, 5), repeat=3)]
    within = [bits for bits in every if of.prices.fit(SPEC.limits, *bits)]
    best = max(environment.top1(bits) for bits in within)
    found = method.search(of)
    assert environment.top1(found.bits) == best > environment.top1(within[0])
    assert of.prices.fit(SPEC.limits, *found.bits)
    assert len(found.episodes) == 60
    assert [e["episode"] for e in found.episodes] == list(range(60))
    for episode in found.episodes:
        assert episode["mean_bits"] <= 3
        assert episode["reward"] == pytest.approx(0.1 * (episode["top1"] - 100))


@pytest.mark.parametrize("cls", [HAQ, AutoQ])
def test_a_search_that_is_killed_goes_on_to_the_same_end(cls: type[SearchMethod]) -> None:
    agents = {"agent": AGENT} if cls is HAQ else {"layers": AGENT, "kernels": AGENT}
    method = cls(**QUICK, **agents)  # type: ignore[arg-type]
    whole = method.search(problem(Small(), SPEC))
    kept: Kept = InMemory(dies_after=24)
    with pytest.raises(KeyboardInterrupt):
        method.search(problem(Small(), SPEC), kept)
    rest = method.search(problem(Small(), SPEC, seed=99), kept)
    assert rest == whole


def test_autoq_says_the_bits_of_each_kernel_within_the_budget() -> None:
    spec = replace(SPEC, budget={"bops": 32 * 3.5 * 8 * 64 * (27 + 72)})
    of = problem(Small(), replace(spec, a_bits="mixed"))
    found = AutoQ(**QUICK, layers=AGENT, kernels=AGENT).search(of)
    weights, inputs = found.bits
    assert [len(bits) for bits in weights.values()] == [8, 8, 4]  # type: ignore[arg-type]
    assert {b for bits in weights.values() for b in bits} <= {2, 3, 4, 5}  # type: ignore[union-attr]
    assert set(inputs) == {"relu"} and inputs["relu"] in (2, 4, 8)
    assert of.prices.fit(spec.limits, weights, inputs)
    assert any(mean_of(bits) != int(mean_of(bits)) for bits in weights.values())
    pruned = AutoQ(**QUICK, prune=True, layers=AGENT, kernels=AGENT).search(of)
    assert any(0 in bits for bits in pruned.bits.weights.values())  # type: ignore[operator]


def test_the_reward_of_autoq_weighs_costs() -> None:
    of = problem(Small(), SPEC)
    bits = ChosenBits({"first": 5, "second": 5, "last": 5})
    assert AutoQ().reward(50.0, 100.0, bits, of) == pytest.approx(np.log(0.5))
    weighed = AutoQ(accuracy_power=2.0, cost_powers={"size_mb": 0.5})
    assert weighed.reward(50.0, 100.0, bits, of) == pytest.approx(2 * np.log(0.5))
    fewer = ChosenBits({"first": 2, "second": 5, "last": 5})
    share = (2 * 216 + 5 * 608) / (5 * 824)
    assert weighed.reward(50.0, 100.0, fewer, of) == pytest.approx(
        2 * np.log(0.5) - 0.5 * np.log(share)
    )


def test_the_release_tells_the_wrong_kind_after_the_first_decision() -> None:
    spec = QuantSpec("mixed", "mixed", mean_bits=3, sites="all", w_candidates=(2, 3, 4, 5))
    of = problem(Small(), spec)
    kinds = {
        variant: [
            float(LayerWalk(HAQ(variant=variant, agent=AGENT), of)._state(place, 0.0)[0, -1])  # type: ignore[arg-type]
            for place in range(4)
        ]
        for variant in ("release", "paper")
    }
    assert kinds == {"release": [1, 1, 0, 1], "paper": [1, 0, 1, 0]}


def test_the_release_pins_both_ends_once_bits_are_lowered() -> None:
    few = {"w_candidates": (2, 4), "a_candidates": (2, 4), "sites": "all"}
    spec = QuantSpec("mixed", "mixed", budget={"bops": 1.2e6}, **few)  # type: ignore[arg-type]
    of = problem(Small(), spec)
    found = HAQ(agent=AGENT, **QUICK).search(of)
    lowered = [e for e in found.episodes if e["bops"] <= 1.2e6]
    # Ends that were not among the candidates are evaluated like any other.
    ends = ChosenBits({"first": 8, "second": 2, "last": 8}, {"first": 8, "second": 2, "last": 8})
    assert HAQ().environment(of).top1(ends) > 50
    assert len(lowered) == len(found.episodes)
    tight = replace(spec, budget={"bops": 4e5})
    with pytest.raises(BenchError, match="cannot be met with 8 bits in the first and the last lay"):
        HAQ(agent=AGENT, **QUICK).search(problem(Small(), tight))
    paper = HAQ(agent=AGENT, variant="paper", **QUICK).search(problem(Small(), tight))
    assert all(episode["bops"] <= 4e5 for episode in paper.episodes)


def test_rewards_after_a_fine_tuning() -> None:
    """The release's linear environment takes the accuracy it trained to, the paper the held-out."""
    of = problem(Small(), QuantSpec("mixed", "mixed", mean_bits=3, w_candidates=(2, 3, 4)))
    how: dict[str, Any] = {"finetune_steps": 2, "finetune_batch": 8, "agent": AGENT}
    bits = ChosenBits({"first": 2, "second": 2, "last": 2}, {"relu": 8})
    environment = HAQ().environment(of)
    found = {}
    for variant in ("release", "paper"):
        of.generator.manual_seed(0)
        method = HAQ(variant=variant, **how)  # type: ignore[arg-type]
        found[variant] = method.accuracy(environment, of, bits)
    assert found["release"] * 8 % 100 == 0  # of one batch
    of.generator.manual_seed(0)
    method = HAQ(**how)
    both = environment.tuned_top1(bits, of.tuning, method.finetuning, of.generator)
    assert (both.best_batch, both.held_out) == (found["release"], found["paper"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (QuantSpec(4, 8), "method haq chooses bits, and W4A8 says them; add quant=mixed"),
        (QuantSpec("mixed", 8), "method haq needs a budget: quant.size_mb=MIB, quant.mean"),
        (
            QuantSpec("mixed", "mixed", mean_bits=3, a_candidates=(8, 32)),
            "quant.a_candidates=[8, 32]: method haq chooses among bits of integers for act",
        ),
    ],
)
def test_a_cell_without_bits_to_choose(spec: QuantSpec, said: str) -> None:
    with pytest.raises(BenchError) as caught:
        HAQ().check(spec)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"mean_bits": 1.9},
            "quant.mean_bits=1.9 is below the smallest possible: the fewest bits everywhere come "
            "to 2, 70 % of it in layer 'second'",
        ),
        (
            {"mean_bits": 5},
            "quant.mean_bits=5 leaves nothing to choose: the most bits everywhere come to 5, 70 % "
            "of it in layer 'second'",
        ),
        (
            {"bops": 10},
            "quant.budget.bops=10 is below the smallest possible: the fewest bits everywhere come "
            "to 3.24608e+06, 73 % of it in layer 'second'",
        ),
        (
            {"largest_activation_mb": 1e-6},
            "quant.budget.largest_activation_mb=1e-06 is below the smallest possible: the fewest "
            "bits everywhere come to 0.00195312 in layer 'second'",
        ),
        (
            {"mean_activation_bits": 2},
            "quant.budget.mean_activation_bits=2 is below the smallest possible: the fewest bits "
            "everywhere come to 32, 72 % of it in layer 'second'",
        ),
    ],
)
def test_a_budget_that_nothing_or_everything_meets(limits: dict[str, float], said: str) -> None:
    spec = replace(SPEC, mean_bits=None, budget=limits)
    of = problem(Small(), spec)
    with pytest.raises(BenchError) as caught:
        HAQ().choices(spec, of.prices, of.special).check()
    assert str(caught.value).startswith(said)


def test_a_layer_that_cannot_go_lower_is_named() -> None:
    spec = replace(SPEC, mean_bits=3, first_bits=8)
    of = problem(Small(), spec)
    with pytest.raises(
        BenchError, match=r"come to \S+, 59 % of it in layer 'first', whose .* \(8\)"
    ):
        HAQ().choices(spec, of.prices, of.special).check()


# The second layer is slow at few bits, as where a processor has no instruction for them.
_MS = {"first": {2: 1, 4: 2}, "second": {2: 9, 4: 3}, "last": {2: 1, 4: 2}}
TABLE = LatencyTable("t.csv", {n: {(w, 32): t for w, t in of.items()} for n, of in _MS.items()})
TABLE.by_name["first"].update({(w, 8): t for w, t in _MS["first"].items()})  # type: ignore[attr-defined]


def slower(ms: float, **more: Any) -> QuantSpec:
    budget = {"latency_ms": ms, **more}
    return QuantSpec("mixed", 32, budget=budget, latency_table="t.csv", w_candidates=(2, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [HAQ(agent=AGENT, **QUICK), AutoQ(**QUICK)])
def test_a_latency_that_the_fewest_bits_miss_is_met(method: SearchMethod) -> None:
    # 2 bits everywhere take 11 ms and 4 bits 7; 2, 4 and 2 bits take 5, the least of all.
    spec = slower(5)
    of = problem(Small(), spec, table=TABLE)
    method.choices(spec, of.prices, of.special).check()
    found = method.search(of)
    assert [mean_of(found.bits.weights[name]) for name in _MS] == [2, 4, 2]
    assert {episode["latency_ms"] for episode in found.episodes} == {5}


def test_a_latency_below_the_least_is_refused_with_the_least() -> None:
    spec = slower(4.9)
    of = problem(Small(), spec, table=TABLE)
    with pytest.raises(BenchError) as caught:
        HAQ().choices(spec, of.prices, of.special).check()
    assert str(caught.value) == (
        "quant.budget.latency_ms=4.9 is below the smallest possible: the fastest bits of each "
        "layer come to 5, 60 % of it in layer 'second'"
    )


def test_limits_that_contradict_each_other_are_named() -> None:
    spec = slower(5, mean_bits=2)
    of = problem(Small(), spec, table=TABLE)
    HAQ().choices(spec, of.prices, of.special).check()  # each of them can be met
    with pytest.raises(BenchError, match=r"nor the fastest meet \w+ and \w+ together"):
        HAQ(agent=AGENT, **QUICK).search(of)


def test_autoq_needs_grids_of_channels() -> None:
    with pytest.raises(BenchError, match=r"set quant.w_granularity=channel$"):
        AutoQ().check(replace(SPEC, w_granularity="tensor"))


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"updates": -1}, {"held_out": 0}])
def test_numbers_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        HAQ(**wrong)  # type: ignore[arg-type]


def test_goals_are_relabelled_to_what_the_kernels_did() -> None:
    """With no draws and the lower agent's own actions the goal that was said explains best."""
    of = problem(Small(), SPEC)
    walk = AutoQ(**QUICK, layers=AGENT, kernels=AGENT).walk(of)
    walk.choose(0)
    walk.learn(-1.0, 0)
    kernels: Any = walk
    batch = kernels._above.memory.draw(32, torch.Generator().manual_seed(0))
    size = kernels._hierarchy.relabel_kernels
    rows = batch.details[:, 1:].view(32, size, -1)
    said = kernels._below.act(rows[..., :-1].flatten(0, 1)).view(32, size)
    rows[..., -1] = said
    relabelled = kernels._relabelled(batch)
    assert torch.allclose(relabelled.actions, batch.actions)
    rows[..., -1] = 1 - said
    assert not torch.allclose(kernels._relabelled(batch).actions, batch.actions)
