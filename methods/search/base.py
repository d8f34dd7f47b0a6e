"""What a method is that searches for bits, and the search itself, episode by episode."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method, Progress, no_progress
from methods.search.choices import Choices
from methods.search.environment import Environment
from methods.search.finetune import FineTuning, Labelled
from models.errors import BenchError
from models.quantize.bits import ChosenBits, LayerBits
from models.quantize.network import QuantizedNetwork
from models.quantize.prices import Prices
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec

State = dict[str, Any]


class Kept(Protocol):
    """Where the state of a search is kept between episodes."""

    def load(self) -> State | None: ...

    def save(self, state: State) -> None: ...


@dataclass(frozen=True)
class Problem:
    """What bits are searched for.

    network: float. images: (N, C, H, W), to calibrate with. held_out: what the reward is taken on;
        tuning: what a fine-tuning learns from, empty without one.
    prices: of the network. special: bits of the first and the last layer.
    generator: a seeded CPU one, which all chance comes from.
    """

    network: nn.Module
    spec: QuantSpec
    images: Tensor
    held_out: Labelled
    tuning: Labelled
    prices: Prices
    special: Mapping[str, int]
    generator: torch.Generator


class Found(NamedTuple):
    """The best bits, and a record of each episode: its reward, accuracy in percent, and costs."""

    bits: ChosenBits
    episodes: list[dict[str, Any]]


class Walk(Protocol):
    """One who chooses bits, and learns from what came of them."""

    def choose(self, episode: int) -> ChosenBits:
        """Return the bits of an episode, within the budget."""

    def learn(self, reward: float, episode: int) -> None:
        """Learn from the reward of the bits that were chosen last."""

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...


@dataclass(frozen=True)
class SearchMethod(Method):
    """A method that chooses the bits a cell leaves open, by trying.

    episodes: choices that are tried, the first `random_episodes` of them by chance alone.
    updates: of the agent after each of the others.
    held_out: training images that the reward is taken on, none of which anything is calibrated or
        fine-tuned on. finetune_steps: of SGD before each reward, and once more at the end, at
        finetune_rate, on batches of finetune_batch drawn from finetune_images others; 0 for none.
    """

    needs_real_images = True
    chooses_bits = True

    episodes: int = 150
    random_episodes: int = 20
    updates: int = 5
    held_out: int = 256
    finetune_steps: int = 0
    finetune_images: int = 2_000
    finetune_rate: float = 1e-3
    finetune_batch: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("episodes", "held_out", "finetune_images", "finetune_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; give at least 1")
        for name in ("random_episodes", "updates", "finetune_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; give 0 or more")

    @property
    def labelled(self) -> tuple[int, int]:
        """How many images there are to be for the reward, and to fine-tune on."""
        return self.held_out, self.finetune_images if self.finetune_steps else 0

    def check(self, spec: QuantSpec) -> None:
        if not spec.is_mixed:
            raise BenchError(
                f"method {self.name} chooses bits, and W{spec.w_bits}A{spec.a_bits} says them; add "
                "quant=mixed and a budget, as in quant.mean_bits=3"
            )
        if not spec.limits:
            raise BenchError(
                f"method {self.name} needs a budget: quant.size_mb=MIB, quant.mean_bits=BITS, or "
                "another cost, as in quant.budget={bops: 1e9}"
            )

        if spec.a_bits == MIXED and FLOAT_BITS in spec.a_candidates:
            raise BenchError(
                f"quant.a_candidates={list(spec.a_candidates)}: method {self.name} chooses among "
                f"bits of integers for activations; leave out {FLOAT_BITS}"
            )

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(context.real_images(self.images))

    @abstractmethod
    def walk(self, problem: Problem) -> Walk:
        """Return one who chooses the bits of `problem`."""

    @abstractmethod
    def reward(self, top1: float, float_top1: float, bits: ChosenBits, problem: Problem) -> float:
        """Return what an accuracy, in percent, is worth, on the held-out images."""

    def choices(self, spec: QuantSpec, prices: Prices, special: Mapping[str, int]) -> Choices:
        """Return what is chosen from. special: bits of the first and the last layer."""
        return Choices(spec, prices, special, self.weight_candidates(spec))

    def weight_candidates(self, spec: QuantSpec) -> tuple[int, ...]:
        """Return what the weights may have."""
        return spec.w_candidates

    def search(
        self, problem: Problem, kept: Kept | None = None, progress: Progress = no_progress
    ) -> Found:
        """Return the bits of the best reward of all episodes, the first of equal ones.

        kept: where the state is kept after each episode, to go on from; None for nowhere.
        """
        environment = self.environment(problem)
        walk, generator = self.walk(problem), problem.generator
        best: tuple[float, ChosenBits] | None = None
        episodes: list[dict[str, Any]] = []
        state = kept.load() if kept is not None else None
        if state is not None:
            walk.restore(state["walk"])
            generator.set_state(state["generator"])
            episodes = state["episodes"]
            best = state["best"][0], ChosenBits(*state["best"][1])
        for episode in range(len(episodes), self.episodes):
            bits = walk.choose(episode)
            top1 = self.accuracy(environment, problem, bits)
            reward = self.reward(top1, environment.float_top1, bits, problem)
            if best is None or reward > best[0]:
                best = reward, bits
            walk.learn(reward, episode)
            costs = problem.prices.totals(list(problem.spec.limits), *bits)
            episodes.append({"episode": episode, "reward": reward, "top1": top1, **costs})
            if kept is not None:
                kept.save(
                    {
                        "walk": walk.state(),
                        "generator": generator.get_state(),
                        "episodes": episodes,
                        "best": (best[0], tuple(map(dict, best[1]))),
                    }
                )
            progress(episode + 1, self.episodes, -reward)
        assert best is not None  # one episode or more
        return Found(best[1], episodes)

    def environment(self, problem: Problem) -> Environment:
        return Environment(problem.network, problem.spec, problem.images, problem.held_out)

    def accuracy(self, environment: Environment, problem: Problem, bits: ChosenBits) -> float:
        """Return the accuracy that the reward is made of, in percent."""
        if not self.finetune_steps:
            return environment.top1(bits)
        how = self.finetuning
        return environment.tuned_top1(bits, problem.tuning, how, problem.generator).held_out

    @property
    def finetuning(self) -> FineTuning:
        return FineTuning(self.finetune_steps, self.finetune_rate, self.finetune_batch)

    def finish(
        self, problem: Problem, made: QuantizedNetwork, bits: ChosenBits, generator: torch.Generator
    ) -> None:
        """Fine-tune what was made at the chosen `bits`, in place, where the method does so."""
        if self.finetune_steps:
            environment = self.environment(problem)
            environment.tune(made.network, bits, problem.tuning, self.finetuning, generator)


def whole(
    problem: Problem, weights: Mapping[str, LayerBits], inputs: Mapping[str, int]
) -> ChosenBits:
    """Return the bits of all layers: `weights`, and of those that are not open the spec's."""
    known: dict[str, LayerBits] = {**problem.special, **weights}
    if isinstance(problem.spec.w_bits, int):
        known = dict.fromkeys(problem.prices.sizes, problem.spec.w_bits) | known
    return ChosenBits({n: known[owner] for n, owner in problem.prices.owners.items()}, inputs)
