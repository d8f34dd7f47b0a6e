"""BatchNorm over processes, in a group of one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from models.qat.sync import synced


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_process_computes_what_batchnorm_does(dtype: torch.dtype) -> None:
    """Under autocast too, where what comes in has 8 bits of a mantissa and sums must not."""
    generator = torch.Generator().manual_seed(0)
    images = (torch.randn(4, 3, 5, 5, generator=generator) * 2 + 1).to(dtype)
    plain, shared = nn.BatchNorm2d(3), synced(nn.BatchNorm2d(3))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected, found = plain(images), shared(images)
    assert found.dtype == expected.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert torch.allclose(found.float(), expected.float(), atol=tolerance)
    for name in ("running_mean", "running_var"):
        assert torch.allclose(getattr(shared, name), getattr(plain, name), rtol=1e-5), name
