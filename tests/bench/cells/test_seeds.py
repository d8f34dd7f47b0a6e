"""One stream a purpose, the same for ever."""

import numpy as np
import pytest
import torch

from bench.cells.seeds import numpy_generator, stream_seed, torch_generator


@pytest.mark.parametrize(
    ("seed", "purpose", "expected"),
    [
        (0, "synthesis", 8_082_040_581_003_714_003),
        (1, "synthesis", 2_209_395_841_295_461_183),
        (0, "calibration", 5_317_264_916_357_963_723),
    ],
)
def test_known_values(seed: int, purpose: str, expected: int) -> None:
    # Another value here means that every published number of this project has another seed.
    assert stream_seed(seed, purpose) == expected


def test_all_different_and_in_range() -> None:
    seeds = {stream_seed(s, p) for s in range(50) for p in ("synthesis", "calibration", "training")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_and_purpose_do_not_run_together() -> None:
    assert stream_seed(11, "a") != stream_seed(1, "a1")
    assert stream_seed(0, "a:0") != stream_seed(0, "a")


def test_streams_are_repeatable_and_apart() -> None:
    def draw(seed: int, purpose: str) -> list[float]:
        return torch.rand(3, generator=torch_generator(seed, purpose)).tolist()

    assert draw(0, "synthesis") == draw(0, "synthesis")
    assert draw(0, "synthesis") != draw(1, "synthesis")
    assert draw(0, "synthesis") != draw(0, "calibration")
    one, other = (numpy_generator(3, "calibration").random(3) for _ in range(2))
    assert np.array_equal(one, other)


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=torch_generator(0, "synthesis"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch_generator(0, "x").device.type == "cpu"
