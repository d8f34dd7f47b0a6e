"""A deep deterministic policy gradient agent (Lillicrap et al., ICLR 2016), as in HAQ's release.

Actions are numbers in 0..1. An actor says the action of a state, a critic what is still to come
after both; copies of the two follow them slowly and say what the critic is to learn.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_WIDTH = math.sqrt(2)


@dataclass(frozen=True)
class AgentOptions:
    """The constants of an agent; the defaults but `hidden` and `noise_decay` are those of HAQ's
    release (mit-han-lab/haq, lib/rl/ddpg.py).

    hidden: units in each of the two hidden layers of actor and critic; HAQ has 300.
    actor_rate, critic_rate: of Adam. discount: of what a later step brings. follow: how far the
        slow copies go towards actor and critic after each update. batch: transitions an update.
    memory: episodes whose transitions are kept.
    noise: deviation of the truncated normal around the actor's action in the first episode that
        is not random; noise_decay: its factor for each episode after that, at which noise is as
        small after 130 of them as with 0.99 after the 580 of the release.
    baseline: how far the moving mean of rewards, which is taken from them, goes towards the mean of
        the batch at an update.
    """

    hidden: int = 64
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    discount: float = 1.0
    follow: float = 0.01
    batch: int = 64
    memory: int = 128
    noise: float = 0.5
    noise_decay: float = 0.955
    baseline: float = 0.5

    def __post_init__(self) -> None:
        for name in ("hidden", "batch", "memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"agent.{name}={getattr(self, name)}; give at least 1")
        for name in ("actor_rate", "critic_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"agent.{name}={getattr(self, name)}; give a positive number")
        for name in ("discount", "follow", "noise", "noise_decay", "baseline"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"agent.{name}={getattr(self, name)}; give a number from 0 to 1")


class Transitions(NamedTuple):
    """What happened in n steps, all float32.

    states, after: (n, s), before and after the step. actions: (n, a). rewards: (n,).
    goes_on: (n,), 0 after the last step of an episode, 1 elsewhere.
    details: (n, d), what else is remembered of a step; d may be 0.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    after: Tensor
    goes_on: Tensor
    details: Tensor


def episode(
    states: Tensor, actions: Tensor, rewards: Tensor, details: Tensor | None = None
) -> Transitions:
    """Return the transitions of n steps, one after the other: see `Transitions`."""
    goes_on = torch.ones(len(states))
    goes_on[-1] = 0.0
    if details is None:
        details = torch.zeros(len(states), 0)
    return Transitions(states, actions, rewards, states.roll(-1, 0), goes_on, details)


class Memory:
    """The transitions of the last episodes, as many as `size`."""

    def __init__(self, size: int, states: int, actions: int, details: int = 0) -> None:
        self._kept = Transitions(
            torch.zeros(size, states),
            torch.zeros(size, actions),
            torch.zeros(size),
            torch.zeros(size, states),
            torch.zeros(size),
            torch.zeros(size, details),
        )
        self._written = 0

    def __len__(self) -> int:
        return min(self._written, len(self._kept.rewards))

    def add(self, transitions: Transitions) -> None:
        """Keep `transitions`, over the oldest where there is no place."""
        size, count = len(self._kept.rewards), len(transitions.rewards)
        places = torch.arange(self._written, self._written + count) % size
        for kept, new in zip(self._kept, transitions, strict=True):
            kept[places] = new
        self._written += count

    def draw(self, count: int, generator: torch.Generator) -> Transitions:
        """Return `count` transitions, drawn with replacement."""
        places = torch.randint(len(self), (count,), generator=generator)
        return Transitions(*(kept[places] for kept in self._kept))

    def state(self) -> dict[str, Any]:
        return {"written": self._written, **self._kept._asdict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._written = state["written"]
        for name, kept in self._kept._asdict().items():
            kept.copy_(state[name])


class Shape(NamedTuple):
    """How many numbers a state has, an action, and the details of a step; steps of an episode."""

    states: int
    actions: int
    steps: int
    details: int = 0


Relabel = Callable[[Transitions], Transitions]
"""Changes what was done in steps that are remembered, before an agent learns from them."""


class Agent:
    """An actor and a critic that learn from what they remember; all on the CPU.

    generator: draws new weights, noise and batches.
    """

    def __init__(self, shape: Shape, options: AgentOptions, generator: torch.Generator) -> None:
        self._options, self._generator = options, generator
        states, actions, steps, details = shape
        hidden = options.hidden
        self._actor = _network(states, hidden, actions, generator)
        self._actor.append(nn.Sigmoid())
        self._critic = _network(states + actions, hidden, 1, generator)
        self._slow_actor = copy.deepcopy(self._actor)
        self._slow_critic = copy.deepcopy(self._critic)
        self._of_actor = _adam(self._actor, options.actor_rate)
        self._of_critic = _adam(self._critic, options.critic_rate)
        self.memory = Memory(options.memory * steps, states, actions, details)
        self._baseline: float | None = None

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """Return the actor's actions (n, a) in 0..1 for `states` (n, s)."""
        return self._actor(states)

    def explore(self, states: Tensor, episode: int) -> Tensor:
        """Return actions around the actor's.

        episode: how many episodes there were that were not random.
        """
        deviation = self._options.noise * self._options.noise_decay**episode
        return truncated_normal(self.act(states), deviation, self._generator)

    def random(self, count: int, actions: int) -> Tensor:
        """Return `count` actions, (count, actions), all of 0..1 as likely."""
        return torch.rand(count, actions, generator=self._generator)

    def learn(self, relabel: Relabel | None = None) -> None:
        """Make one update from a batch of what is remembered."""
        options = self._options
        batch = self.memory.draw(options.batch, self._generator)
        if relabel is not None:
            batch = relabel(batch)
        mean = float(batch.rewards.mean())
        before = mean if self._baseline is None else self._baseline
        self._baseline = before + options.baseline * (mean - before)
        with torch.no_grad():
            later = self._slow_critic(torch.cat([batch.after, self._slow_actor(batch.after)], 1))
            centred = batch.rewards - self._baseline
            target = centred + options.discount * batch.goes_on * later[:, 0]
        value = self._critic(torch.cat([batch.states, batch.actions], 1))[:, 0]
        _descend((value - target).square().mean(), self._of_critic)
        chosen = self._critic(torch.cat([batch.states, self._actor(batch.states)], 1))
        _descend(-chosen.mean(), self._of_actor)
        for slow, fast in ((self._slow_actor, self._actor), (self._slow_critic, self._critic)):
            _follow(slow, fast, options.follow)

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on but the generator: tensors and numbers."""
        return {
            "networks": [network.state_dict() for network in self._networks],
            "optimisers": [each.state_dict() for each in (self._of_actor, self._of_critic)],
            "memory": self.memory.state(),
            "baseline": self._baseline,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for network, kept in zip(self._networks, state["networks"], strict=True):
            network.load_state_dict(kept)
        optimisers = (self._of_actor, self._of_critic)
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.memory.restore(state["memory"])
        self._baseline = state["baseline"]

    @property
    def _networks(self) -> tuple[nn.Module, ...]:
        return self._actor, self._critic, self._slow_actor, self._slow_critic


def truncated_normal(mean: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw from normal distributions around `mean`, in 0..1, that end at 0 and at 1."""
    if not deviation:
        return mean
    low, high = (0.5 * (1 + torch.erf((end - mean) / (deviation * _WIDTH))) for end in (0.0, 1.0))
    draw = low + (high - low) * torch.rand(mean.shape, generator=generator)
    return (mean + deviation * _WIDTH * torch.erfinv(2 * draw - 1)).clamp(0, 1)


def _network(inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Return two hidden layers and a linear one, with weights as PyTorch draws them."""
    layers: list[nn.Module] = []
    for before, after in ((inputs, hidden), (hidden, hidden), (hidden, outputs)):
        layer = nn.Linear(before, after, device="meta").to_empty(device="cpu")
        bound = 1 / math.sqrt(before)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=rate, fused=True)


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    parameters = optimiser.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimiser.step()


@torch.no_grad()
def _follow(slow: nn.Module, fast: nn.Module, share: float) -> None:
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), share)
