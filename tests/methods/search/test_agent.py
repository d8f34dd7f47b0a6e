"""The agent on problems whose best actions are known."""

import copy

import pytest
import torch
from torch import Tensor

from methods.search.agent import Agent, AgentOptions, Shape, episode, truncated_normal

STEPS = 4
WANTED = torch.tensor([0.2, 0.9, 0.5, 0.7])
SHAPE = Shape(STEPS, 1, STEPS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def play(agent: Agent, episodes: int, first: int = 0) -> None:
    """Reward each step with minus the squared distance of its action from WANTED."""
    states = torch.eye(STEPS)
    for number in range(first, episodes):
        by_chance = number < 20
        actions = agent.random(STEPS, 1) if by_chance else agent.explore(states, number - 20)
        agent.memory.add(episode(states, actions, -(actions[:, 0] - WANTED).square()))
        if not by_chance:
            for _ in range(10):
                agent.learn()


@pytest.mark.thorough
def test_it_finds_the_best_actions_of_a_toy() -> None:
    options = AgentOptions(actor_rate=3e-3, critic_rate=1e-2, discount=0.0, noise=0.3, baseline=0.0)
    agent = Agent(SHAPE, options, seeded())
    play(agent, 60)
    found = agent.act(torch.eye(STEPS))[:, 0]
    assert float((found - WANTED).abs().max()) < 0.12


def test_what_a_kill_interrupts_goes_on_as_if_it_had_not() -> None:
    generators = seeded(1), seeded(2)
    whole = Agent(SHAPE, AgentOptions(hidden=8), generators[0])
    play(whole, 24)
    state = copy.deepcopy(whole.state())
    other = Agent(SHAPE, AgentOptions(hidden=8), generators[1])
    other.restore(state)
    generators[1].set_state(generators[0].get_state())
    play(whole, 28, first=24)
    play(other, 28, first=24)
    assert torch.equal(whole.act(torch.eye(STEPS)), other.act(torch.eye(STEPS)))


def test_one_update_by_hand() -> None:
    """The critic goes towards r - b + discount Q'(s', pi'(s')), and not past the last step."""
    options = AgentOptions(hidden=4, batch=1, memory=1, discount=0.5, baseline=0.25)
    agent = Agent(Shape(2, 1, 1), options, seeded())
    state, action = torch.tensor([[0.3, 0.6]]), torch.tensor([[0.8]])
    agent.memory.add(episode(state, action, torch.tensor([2.0])))

    def value() -> Tensor:
        return agent._critic(torch.cat([state, action], 1)).detach()

    before = float(value())
    agent.learn()
    # The moving mean begins at the first batch's, so that its reward counts 0: downhill to 0.
    assert abs(float(value())) < abs(before)


@pytest.mark.parametrize("deviation", [0.05, 0.5, 5.0])
def test_noise_is_a_normal_cut_off_at_both_ends(deviation: float) -> None:
    mean = torch.full((20_000,), 0.8)
    drawn = truncated_normal(mean, deviation, seeded())
    assert float(drawn.min()) >= 0 and float(drawn.max()) <= 1
    normal = torch.distributions.Normal(0.8, deviation)
    ends = normal.cdf(torch.tensor([0.0, 0.6, 1.0]))
    share = (ends[1] - ends[0]) / (ends[2] - ends[0])
    assert float((drawn < 0.6).float().mean()) == pytest.approx(float(share), abs=0.01)
    assert torch.equal(truncated_normal(mean, 0.0, seeded()), mean)


def test_the_oldest_transitions_are_written_over() -> None:
    agent = Agent(Shape(1, 1, 2), AgentOptions(memory=2), seeded())
    for reward in (1.0, 2.0, 3.0):
        states = torch.zeros(2, 1)
        agent.memory.add(episode(states, states, torch.full((2,), reward)))
    assert len(agent.memory) == 4
    drawn = agent.memory.draw(200, seeded())
    assert set(drawn.rewards.tolist()) == {2.0, 3.0}
    assert set(drawn.goes_on.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    "wrong", [{"hidden": 0}, {"actor_rate": 0}, {"noise": 2}, {"discount": -1}]
)
def test_constants_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"agent.{next(iter(wrong))}="):
        AgentOptions(**wrong)  # type: ignore[arg-type]
