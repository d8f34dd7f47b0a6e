"""An evaluation with too little memory for its batches, for real."""

import sys
from pathlib import Path

import pytest

from tests.processes import Process

pytestmark = pytest.mark.faults

# Images are read, and the network is made, before memory is limited to 150 MB more: 64 images of
# 256 px take 50 MB as numbers, and 256 of them 200 MB.
_PROGRAM = """
import logging, resource, sys
from pathlib import Path
import torch
from bench.data.feed import ResidentImages, feed
from bench.machine.device import Device
from bench.measure.evaluate import evaluate
from bench.speed.evaluation import synthetic
from bench.tasks.classification import Classification
from models.preprocessing import Preprocessing

logging.basicConfig(level=logging.WARNING, format="%(message)s")
images = synthetic(300, 256, Path(sys.argv[1]))
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 2, 64, stride=64), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
)
preprocessing = Preprocessing(256, 256, "bilinear", (0.5,) * 3, (0.5,) * 3)

def run(size):
    device = Device(torch.device("cpu"), torch.channels_last, size)
    pixels = feed(images, device.device, ResidentImages())
    return evaluate(
        network, pixels, preprocessing, device, lambda *_: None, Classification()
    )

expected = run(8)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 150_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = run(256)
assert (found.items.top1 == expected.items.top1).all()
assert len(found.items.top1) == 300
print(found.batch_size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel limits the memory of a process")
def test_a_batch_that_finds_no_memory_is_halved(tmp_path: Path) -> None:
    process = Process(["-c", _PROGRAM, str(tmp_path)])
    out, err = process.communicate()
    assert process.returncode == 0, err
    size = int(out)
    assert size < 256
    warnings = [line for line in err.splitlines() if line.startswith("warning:")]
    assert warnings[0] == ("warning: not enough memory for 256 images at once, going on with 128")
    assert 256 >> len(warnings) == size
