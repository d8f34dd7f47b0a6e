import pytest

from bench.peers.table import markdown, pairs_of
from tests.bench.peers.examples import failed, row

ROWS = [
    row("float", "float", 0, w_bits=32, a_bits=32),
    row("ours", "nearest", 12),
    row("ours", "learned", 2),
    row("other", "PTQ", 12),
    failed("other", "GPTQ", "it has 8 bits only"),
    row("ours", "nearest", 1, w_bits=8),
    row("ours", "learned", 1, w_bits=8),
    row("other", "PTQ", 4, w_bits=8),
]


def test_pairs_are_peers_minus_ours_at_the_same_bits() -> None:
    pairs = pairs_of(ROWS, "ours")
    named = [(p.first.bits.label, p.first.method, p.second.method) for p in pairs]
    assert named == [
        ("W4A8", "PTQ", "nearest"),
        ("W4A8", "PTQ", "learned"),
        ("W8A8", "PTQ", "nearest"),
        ("W8A8", "PTQ", "learned"),
    ]
    # 0, 10 and 3 images of 20 tell them apart, all in one direction: p is 1, 2 / 2^10, 2 / 2^3.
    assert [p.difference.points for p in pairs] == [0.0, -50.0, -15.0, -15.0]
    assert [p.difference.p for p in pairs] == pytest.approx([1.0, 2 / 1024, 0.25, 0.25])
    # By Holm: the smallest times 4, the next times 3, and no smaller one behind a larger one.
    assert [p.p_holm for p in pairs] == pytest.approx([1.0, 8 / 1024, 0.75, 0.75])
    assert [p.resolved for p in pairs] == [False, True, False, False]


def test_the_table_by_hand() -> None:
    page = markdown(ROWS, "ours", ["ours: what it does"])
    lines = page.splitlines()
    assert lines[0].startswith("resnet20 on mnist5k: 20 images, the same 4 calibration images")
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    head, _, *body = table
    assert head == [
        *("bits", "tool", "method", "top-1 [95 %]", "float - it"),
        *("it - nearest here", "it - learned here"),
        *("quantizing", "evaluation", "low weights", "low inputs"),
    ]
    assert [line[:3] for line in body] == [
        ["W32A32", "float 1.0", "float"],
        ["W8A8", "ours 1.0", "nearest"],
        ["W8A8", "ours 1.0", "learned"],
        ["W8A8", "other 1.0", "PTQ"],
        ["W4A8", "ours 1.0", "nearest"],
        ["W4A8", "ours 1.0", "learned"],
        ["W4A8", "other 1.0", "PTQ"],
        ["W4A8", "other 1.0", "GPTQ"],
    ]
    assert body[0][3:] == ["100.00 [83.89, 100.00]", "", "", "", "", "", "", ""]
    # 8 of 20, Wilson; each of 12 images lost is +5 points, and a resample has 8 to 16 of them.
    assert body[6][3:] == [
        *("40.00 [21.88, 61.34]", "+60.00 [+40.00, +80.00]"),
        *("+0.00 [+0.00, +0.00]", "**-50.00 [-70.00, -30.00]**"),
        *("1.50", "1.25", "22 of 22 (100.0 %)", "21 of 22"),
    ]
    assert body[7][3:] == ["none [1]", "", "", "", "", "", "", ""]
    assert "- 1 of 4 differences are resolved" in lines
    assert lines[-2:] == ["- ours: what it does", "- [1] other GPTQ at W4A8: it has 8 bits only"]


def test_without_the_float_network_nothing_is_said_to_be_lost() -> None:
    page = markdown(ROWS[1:], "ours", [])
    line = next(line for line in page.splitlines() if "PTQ" in line)
    assert [cell.strip() for cell in line.split("|")][5] == ""
