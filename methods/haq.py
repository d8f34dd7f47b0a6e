"""HAQ (Wang et al., CVPR 2019): an agent walks the layers and says the bits of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from methods.search.agent import Agent, AgentOptions, Shape, episode
from methods.search.base import Problem, SearchMethod, Walk, whole
from methods.search.decisions import Decision, decisions, features
from methods.search.environment import Environment
from methods.search.wall import Bits, bits_of, within, within_fastest, within_pinned
from models.errors import BenchError
from models.quantize.bits import ChosenBits
from models.quantize.budget import LATENCY
from models.quantize.spec import MIXED

_PERCENT = 0.1
_PINNED = 8


@dataclass(frozen=True)
class HAQ(SearchMethod):
    """Bits of each layer by deep deterministic policy gradients, within a budget.

    The agent sees a layer's shape and the bits before it, and says a number in 0..1; when all have
    theirs, bits are lowered from the last layer on until the budget is met. Every step of an
    episode is rewarded with a tenth of the percent that accuracy gains over the float network. How
    weights are quantized is the recipe's: `quant.rounding=kmeans` as in the release's size
    environment, or a grid as in its linear one. Which activations are quantized is too.

    variant: `release` keeps what the release does and the paper does not say. The lowest action
        gives one bit less than the fewest, where that is odd. Where bits of weights and activations
        are chosen: first and last layer are set to 8 bits only once the budget makes bits be
        lowered; the agent is told of each decision but the first that it is of the other kind; and
        with fine-tuning the reward is the accuracy of its best batch. `paper`: none of this; what
        first and last layer have is `quant.first_bits` and `quant.last_bits`.
    agent: its constants.
    """

    name = "haq"
    bibtex = """@inproceedings{wang2019haq,
  title = {{HAQ}: Hardware-Aware Automated Quantization with Mixed Precision},
  author = {Wang, Kuan and Liu, Zhijian and Lin, Yujun and Lin, Ji and Han, Song},
  booktitle = {CVPR},
  year = {2019}
}"""

    variant: Literal["release", "paper"] = "release"
    agent: AgentOptions = field(default_factory=AgentOptions)

    def walk(self, problem: Problem) -> Walk:
        return LayerWalk(self, problem)

    def accuracy(self, environment: Environment, problem: Problem, bits: ChosenBits) -> float:
        both = problem.spec.w_bits == problem.spec.a_bits == MIXED
        if not (both and self.finetune_steps and self.variant == "release"):
            return super().accuracy(environment, problem, bits)
        how = self.finetuning
        return environment.tuned_top1(bits, problem.tuning, how, problem.generator).best_batch

    def reward(self, top1: float, float_top1: float, bits: ChosenBits, problem: Problem) -> float:
        return _PERCENT * (top1 - float_top1)


class LayerWalk:
    """An agent that decides one after the other."""

    def __init__(self, method: HAQ, problem: Problem) -> None:
        self._method, self._problem = method, problem
        spec = problem.spec
        self._of = decisions(problem.prices, spec, list(problem.special))
        self._choices = method.choices(spec, problem.prices, problem.special)
        self._both = spec.w_bits == spec.a_bits == MIXED
        self._features = features(problem.network, problem.prices, self._of)
        # Beside them the bits before, and which kind of decision it is where there are two.
        width = self._features.shape[1] + 1 + int(self._both)
        self._agent = Agent(Shape(width, 1, len(self._of)), method.agent, problem.generator)
        self._states = torch.zeros(0, width)
        self._actions = torch.zeros(0, 1)

    def choose(self, episode: int) -> ChosenBits:
        method, by_chance = self._method, episode < self._method.random_episodes
        before = 1.0
        states, actions, bits = [], [], []
        for place, decision in enumerate(self._of):
            state = self._state(place, before)
            if by_chance:
                action = self._agent.random(1, 1)
            else:
                action = self._agent.explore(state, episode - method.random_episodes)
            said = bits_of(action.double().numpy()[0], decision.candidates, method.variant)
            bits.append(int(said[0]))
            before = bits[-1] / decision.candidates[-1]
            states.append(state)
            actions.append(action)
        self._states, self._actions = torch.cat(states), torch.cat(actions)
        return self._chosen(self._lowered(np.array(bits)))

    def learn(self, reward: float, episode_: int) -> None:
        rewards = torch.full((len(self._of),), reward)
        self._agent.memory.add(episode(self._states, self._actions, rewards))
        if episode_ >= self._method.random_episodes:
            for _ in range(self._method.updates):
                self._agent.learn()

    def state(self) -> dict[str, Any]:
        return self._agent.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._agent.restore(state)

    def _state(self, place: int, before: float) -> torch.Tensor:
        more = [before]
        if self._both:
            is_weight = not self._of[place].is_input
            inverted = self._method.variant == "release" and place > 0
            more.append(float(is_weight != inverted))
        return torch.cat([self._features[place], torch.tensor(more)])[None]

    def _lowered(self, bits: Bits) -> Bits:
        candidates = [decision.candidates for decision in self._of]

        def fits(tried: Bits) -> bool:
            return self._problem.prices.fit(self._problem.spec.limits, *self._chosen(tried))

        if not (self._both and self._method.variant == "release"):
            lowered = within(bits, candidates, fits)
            slow = LATENCY in self._problem.spec.limits and not fits(lowered)
            return self._fastest(bits, fits) if slow else lowered
        lowered = within_pinned(bits, candidates, fits, _ends(self._of))
        if not fits(lowered):
            raise BenchError(
                f"the budget cannot be met with {_PINNED} bits in the first and the last layer, "
                f"{self._of[0].layer!r} and {self._of[-1].layer!r}; raise it, or set "
                "method.variant=paper"
            )
        return lowered

    def _fastest(self, bits: Bits, fits: Callable[[Bits], bool]) -> Bits:
        """Return bits within a budget that the fewest do not meet."""
        weights, inputs = self._choices.fastest
        goal = np.array([inputs[d.name] if d.is_input else weights[d.name] for d in self._of])
        return within_fastest(bits, goal, fits, self._problem.spec.limits)

    def _chosen(self, bits: Bits) -> ChosenBits:
        said = list(zip(self._of, bits.tolist(), strict=True))
        weights = {decision.name: b for decision, b in said if not decision.is_input}
        inputs = {decision.name: b for decision, b in said if decision.is_input}
        return whole(self._problem, weights, inputs)


def _ends(of: list[Decision]) -> dict[int, int]:
    """Return the bits that the release gives the first and the last layer, by decision."""
    ends = of[0].layer, of[-1].layer
    return {place: _PINNED for place, decision in enumerate(of) if decision.layer in ends}
