"""What an episode of a search for bits costs beside its evaluation."""

import time

import torch
from torch import Tensor, nn

from bench.speed.ratio import Ratio, Side
from bench.speed.workplace import Measure, Workplace
from methods.autoq import AutoQ
from methods.haq import HAQ
from methods.search.base import Problem, SearchMethod
from methods.search.finetune import Labelled
from models.quantize.prices import prices_of
from models.quantize.spec import QuantSpec

_NETWORK = "resnet20"
_IMAGES, _CALIBRATION = 256, 64
_RANDOM, _EPISODES = 4, 10
_AT_MOST = 1.1
_SPEC = QuantSpec("mixed", 8, mean_bits=3, w_candidates=(2, 3, 4, 5, 6, 7, 8))


def of_episodes(place: Workplace) -> list[Ratio]:
    """Return the ratio of an episode to its evaluation, of HAQ and of AutoQ.

    Of episodes that are not random, which weights kept from others serve.
    """
    network = place.network(_NETWORK)
    images = place.noise(_IMAGES + _CALIBRATION, 32)
    methods: tuple[SearchMethod, ...] = (
        HAQ(episodes=_EPISODES, random_episodes=_RANDOM),
        AutoQ(episodes=_EPISODES, random_episodes=_RANDOM),
    )
    return [_ratio(method, network, images) for method in methods]


def _ratio(method: SearchMethod, network: nn.Module, images: Tensor) -> Ratio:
    held_out, calibration = images.split((_IMAGES, _CALIBRATION))
    labels = torch.zeros(_IMAGES, dtype=torch.int64, device=images.device)
    problem = Problem(
        network=network,
        spec=_SPEC,
        images=calibration,
        held_out=Labelled(held_out, labels),
        tuning=Labelled(held_out[:0], labels[:0]),
        prices=prices_of(network, _SPEC, images[:1]),
        special={},
        generator=torch.Generator().manual_seed(0),
    )
    environment, walk = method.environment(problem), method.walk(problem)
    whole: list[float] = []
    evaluation: list[float] = []
    for episode in range(_EPISODES):
        begun = time.perf_counter()
        bits = walk.choose(episode)
        environment.take(bits)
        taken = time.perf_counter()
        top1 = environment.top1(bits)
        evaluated = time.perf_counter()
        walk.learn(top1, episode)
        if episode >= _RANDOM:
            whole.append(time.perf_counter() - begun)
            evaluation.append(evaluated - taken)
    return Ratio(
        f"an episode of {method.name} / its evaluation: {_NETWORK}, {_IMAGES} images",
        Side(f"{method.name}, {method.updates} updates", sorted(whole)[len(whole) // 2]),
        Side("evaluation", sorted(evaluation)[len(evaluation) // 2]),
        goal=_AT_MOST,
        details={"images": _IMAGES, "updates": method.updates},
    )


MEASURES = [Measure(f"episodes of searches for bits of {_NETWORK}", of_episodes)]
