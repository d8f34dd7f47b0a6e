"""Two agents, one above the other: goals of layers, bits of their kernels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from methods.search.agent import Agent, AgentOptions, Shape, Transitions, episode
from methods.search.base import Problem, whole
from methods.search.choices import Choices
from methods.search.decisions import Decision, decisions, features
from methods.search.wall import Bits, bits_of, within, within_fastest
from models.errors import BenchError
from models.quantize.activation import weighted_layers
from models.quantize.bits import ChosenBits
from models.quantize.budget import LATENCY
from models.quantize.spec import MIXED

_OF_KERNEL = 4  # its place, its largest weight, the deviation of its weights, and the goal


@dataclass(frozen=True)
class Hierarchy:
    """How the agent of kernels is rewarded, and what is made of its past.

    extrinsic_first, extrinsic_last: the share of the extrinsic reward in the intrinsic one at the
        first episode and at the last, in equal steps between; the rest is minus the distance, in
        bits, of the kernels' mean from the goal.
    relabelled: goals that are drawn around the one that was reached, for HIRO's correction; beside
        them are what was said and what was reached. 0 for no correction.
    relabel_spread: their deviation, of the whole range of goals.
    relabel_kernels: kernels of a layer, evenly spaced, that explain a goal.
    """

    extrinsic_first: float = 0.1
    extrinsic_last: float = 0.8
    relabelled: int = 8
    relabel_spread: float = 0.5
    relabel_kernels: int = 8

    def __post_init__(self) -> None:
        for name in ("extrinsic_first", "extrinsic_last", "relabel_spread"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"hierarchy.{name}={getattr(self, name)}; give 0 to 1")
        if self.relabelled < 0 or self.relabel_kernels < 1:
            raise ValueError(
                "hierarchy: give relabelled of 0 or more, relabel_kernels of 1 or more"
            )


class _Layer(NamedTuple):
    """A layer whose kernels are to have bits.

    kernels: (n, s) what the agent of kernels is told of each, the goal last and 0 yet.
    input: the place that the layer above it decides with it, where there is one.
    """

    name: str
    kernels: Tensor
    input: Decision | None


class _Walked(NamedTuple):
    """What was seen and said on one layer: rows are 1 for the layer, n for its kernels."""

    state: Tensor
    action: Tensor
    kernels: Tensor
    kernel_actions: Tensor
    reached: float


class KernelWalk:
    """Chooses the bits of all kernels, layer by layer.

    choices: what kernels may have. agents: of layers and of kernels. pace: random episodes, all
    episodes, updates an episode.
    """

    def __init__(
        self,
        problem: Problem,
        choices: Choices,
        agents: tuple[AgentOptions, AgentOptions],
        hierarchy: Hierarchy,
        pace: tuple[int, int, int],
    ) -> None:
        self._problem, self._choices, self._hierarchy = problem, choices, hierarchy
        self._candidates = tuple(sorted(choices.candidates))
        self._random_episodes, self._episodes, self._updates = pace
        of = decisions(problem.prices, problem.spec, list(problem.special))
        self._features = features(problem.network, problem.prices, of)
        self._rows = {d.name: row for row, d in enumerate(of) if not d.is_input}
        inputs: dict[str, Decision] = {}
        for decision in of:
            if decision.is_input:
                inputs.setdefault(decision.layer, decision)
        self._layers = [
            _Layer(d.name, self._kernels(d.name), inputs.get(d.layer)) for d in of if not d.is_input
        ]
        if not self._layers:
            raise BenchError("no layer has open bits; leave quant.first_bits and last_bits out")
        decided = {layer.input for layer in self._layers}
        # Read by what has no open weight, or beside another.
        self._loose = [d for d in of if d.is_input and d not in decided]
        self._actions = 2 if problem.spec.a_bits == MIXED else 1
        generator, kernels = problem.generator, self._layers[0].kernels.shape[1]
        count = sum(len(layer.kernels) for layer in self._layers)
        # The goal before, and that of HIRO's correction: states and actions of some kernels.
        width = self._features.shape[1] + 1
        details = hierarchy.relabel_kernels * (kernels + 1) + 1
        of_layers, of_kernels = agents
        self._above = Agent(
            Shape(width, self._actions, len(self._layers), details), of_layers, generator
        )
        self._below = Agent(Shape(kernels, 1, count), of_kernels, generator)
        self._walked: list[_Walked] = []

    def choose(self, episode: int) -> ChosenBits:
        by_chance, age = episode < self._random_episodes, episode - self._random_episodes
        before = 1.0
        self._walked, kernels, inputs = [], [], {}
        for layer in self._layers:
            row = self._features[self._rows[layer.name]]
            state = torch.cat([row, torch.tensor([before])])[None]
            if by_chance:
                action = self._above.random(1, self._actions)
            else:
                action = self._above.explore(state, age)
            before = float(action[0, 0])
            told = layer.kernels.clone()
            told[:, -1] = action[0, 0]
            below = self._below
            said = below.random(len(told), 1) if by_chance else below.explore(told, age)
            bits = bits_of(said[:, 0].double().numpy(), self._candidates, "paper")
            reached = float(bits.mean()) / self._candidates[-1]
            self._walked.append(_Walked(state, action, told, said, reached))
            kernels.append(bits)
            if layer.input is not None:
                inputs[layer.input] = _bits(action[0, 1], layer.input)
        for decision in self._loose:  # as much as any
            inputs[decision] = decision.candidates[-1]
        return self._within(kernels, inputs)

    def learn(self, reward: float, episode_: int) -> None:
        hierarchy = self._hierarchy
        progress = episode_ / max(self._episodes - 1, 1)
        first, last = hierarchy.extrinsic_first, hierarchy.extrinsic_last
        share = first + (last - first) * progress
        for walked in self._walked:
            goal = float(walked.action[0, 0])
            missed = abs(goal - walked.reached) * self._candidates[-1]
            intrinsic = share * reward - (1 - share) * missed
            rewards = torch.full((len(walked.kernels),), intrinsic)
            steps = episode(walked.kernels, walked.kernel_actions, rewards)
            self._below.memory.add(steps)
        states = torch.cat([walked.state for walked in self._walked])
        actions = torch.cat([walked.action for walked in self._walked])
        details = torch.stack([self._details(walked) for walked in self._walked])
        rewards = torch.full((len(states),), reward)
        self._above.memory.add(episode(states, actions, rewards, details))
        if episode_ >= self._random_episodes:
            for _ in range(self._updates):
                self._below.learn()
                self._above.learn(self._relabelled if hierarchy.relabelled else None)

    def state(self) -> dict[str, Any]:
        return {"above": self._above.state(), "below": self._below.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._above.restore(state["above"])
        self._below.restore(state["below"])

    def _kernels(self, name: str) -> Tensor:
        """Return what is told of each kernel of a layer, but for the goal."""
        weight = weighted_layers(self._problem.network)[name].weight.detach().flatten(1).cpu()
        place = torch.linspace(0, 1, len(weight))
        largest, deviation = weight.abs().amax(1), weight.std(1, correction=0)
        own = [place, *(x / x.max().clamp(min=1e-12) for x in (largest, deviation))]
        own.append(torch.zeros(len(weight)))
        layer = self._features[self._rows[name]].expand(len(weight), -1)
        return torch.cat([layer, torch.stack(own, 1)], 1)

    def _within(self, kernels: list[Bits], inputs: Mapping[Decision, int]) -> ChosenBits:
        ends = np.cumsum([len(bits) for bits in kernels])
        places = list(inputs)

        def chosen(tried: Bits) -> ChosenBits:
            parts = np.split(tried, ends)
            of_layers = zip(self._layers, parts, strict=False)
            weights = {layer.name: tuple(part.tolist()) for layer, part in of_layers}
            named = {d.name: b for d, b in zip(places, parts[-1].tolist(), strict=True)}
            return whole(self._problem, weights, named)

        def fits(tried: Bits) -> bool:
            return self._problem.prices.fit(self._problem.spec.limits, *chosen(tried))

        bits = np.concatenate([*kernels, np.array([inputs[d] for d in places], np.int64)])
        candidates = [self._candidates] * int(ends[-1]) + [d.candidates for d in places]
        lowered = within(bits, candidates, fits)
        if LATENCY in self._problem.spec.limits and not fits(lowered):
            weights, read = self._choices.fastest
            goal = [np.full(len(layer.kernels), weights[layer.name]) for layer in self._layers]
            goal.append(np.array([read[decision.name] for decision in places], np.int64))
            limits = self._problem.spec.limits
            lowered = within_fastest(bits, np.concatenate(goal), fits, limits)
        return chosen(lowered)

    def _details(self, walked: _Walked) -> Tensor:
        """Return the mean that was reached, and states and actions of some kernels."""
        count = len(walked.kernels)
        some = torch.linspace(0, count - 1, self._hierarchy.relabel_kernels).round().long()
        rows = torch.cat([walked.kernels[some], walked.kernel_actions[some]], 1)
        return torch.cat([torch.tensor([walked.reached]), rows.flatten()])

    def _relabelled(self, batch: Transitions) -> Transitions:
        """Return a batch with the goals that explain best what the agent of kernels did.

        Of what was said, what was reached, and draws around that, the one of the largest
        -1/2 sum ||a - actor(s, goal)||^2 (HIRO, equation 5).
        """
        how, count = self._hierarchy, len(batch.rewards)
        reached = batch.details[:, :1]
        rows = batch.details[:, 1:].view(count, how.relabel_kernels, -1)
        told, did = rows[..., :-1], rows[..., -1]
        noise = torch.randn(count, how.relabelled, generator=self._problem.generator)
        drawn = (reached + how.relabel_spread * noise).clamp(0, 1)
        goals = torch.cat([batch.actions[:, :1], reached, drawn], 1)
        asked = told[:, None].repeat(1, goals.shape[1], 1, 1)
        asked[..., -1] = goals[..., None]
        said = self._below.act(asked.flatten(0, 2)).view(*asked.shape[:3])
        best = (said - did[:, None]).square().sum(2).argmin(1, keepdim=True)
        actions = batch.actions.clone()
        actions[:, :1] = goals.gather(1, best)
        return batch._replace(actions=actions)


def _bits(action: Tensor, decision: Decision) -> int:
    return int(bits_of(action[None].double().numpy(), decision.candidates, "paper")[0])
