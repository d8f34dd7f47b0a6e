import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.speed.ratio import Ratio, Side
from bench.speed.report import document, machine, plot, table

RATIOS = [
    Ratio("step / bare: net", Side("step", 0.23), Side("bare", 0.2), goal=1.15),
    Ratio("full / half: net", Side("step", 0.23), Side("half", 0.2), 1.5, "at least"),
    Ratio(
        "free: net",
        Side("x", 12.0),
        Side("y", 8.0),
        details={
            "cell": "W4A4",
            "top1_percent": {"fp32": 98.9, "bf16": 98.6},
            "difference_points": -0.3,
        },
    ),
]


def test_table() -> None:
    lines = table(RATIOS).splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert rows[0] == "ratio seconds over is goal"
    assert rows[2] == "step / bare: net 0.23 0.2 1.15 <= 1.15 met"
    assert rows[3] == "full / half: net 0.23 0.2 1.15 >= 1.5 not met"
    assert rows[4] == "free: net 12 8 1.5 no goal"
    assert rows[5] == (
        "top-1 at W4A4: 98.90 % with images distilled in float32, 98.60 % in bfloat16 "
        "(-0.30 points)"
    )


def test_document_is_json_with_the_machine_as_it_was() -> None:
    where = machine(torch.device("cpu"))
    assert set(where) == {"device", "cores", "threads", "load_average"}
    assert where["threads"] == torch.get_num_threads()
    found = json.loads(json.dumps(document(RATIOS, where)))
    assert found["machine"] == where
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert [ratio["verdict"] for ratio in found["ratios"]] == ["met", "not met", "no goal"]
    assert found["ratios"][0] == RATIOS[0].as_dict()


def test_plot_has_a_bar_of_each_verdict(tmp_path: Path) -> None:
    path = tmp_path / "speed.png"
    plot(RATIOS, path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    widths = []
    for colour in ((0x1A, 0x7F, 0x37), (0xBC, 0x4C, 0x00), (0x6E, 0x77, 0x81)):
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        assert len(rows) > 500
        widths.append(np.ptp(columns) + 1)
    # From 1 to 1.15, 1.15 and 1.5, equal factors equally far apart; a line at 1 and the mark of a
    # goal hide the ends.
    assert abs(widths[0] - widths[1]) <= 3
    assert abs(widths[2] - widths[0] * math.log(1.5) / math.log(1.15)) <= 9
