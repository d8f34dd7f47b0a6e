"""What bits are called for short."""

import pytest

from models.quantize.spec import QuantSpec


def test_labels() -> None:
    assert QuantSpec(4, 8).label == "W4A8"
    assert QuantSpec("mixed", 8, mean_bits=2.5).label == "MP2.5/A8"
    assert QuantSpec("mixed", 6, size_mb=4).label == "MP4MiB/A6"
    assert QuantSpec("mixed", 6).label == "MP/A6"


@pytest.mark.parametrize(
    ("w_bits", "a_bits", "budget", "label"),
    [
        ("mixed", "mixed", None, "MP/AMP"),
        ("mixed", "mixed", {"mean_bits": 2, "mean_activation_bits": 2.5}, "MP2/AMP2.5"),
        ("mixed", "mixed", {"size_mb": 1.5, "largest_activation_mb": 0.5}, "MP1.5MiB/AMP0.5MiBmax"),
        ("mixed", "mixed", {"bops": 1.5e9}, "MP1.5GBOPs/AMP"),
        ("mixed", 8, {"mac_bits": 81_627_008}, "MP81.627MMACbits/A8"),
        ("mixed", 8, {"bops_percent": 0.5, "latency_ms": 9_999}, "MP0.5%BOPs+9999ms/A8"),
        ("mixed", 8, {"bops_with_additions": 10_000}, "MP10kBOPs(add)/A8"),
        ("mixed", 8, {"mean_bits": 3, "activations_mb": 0.1}, "MP3/A8+0.1MiB"),
        (4, "mixed", {"mean_activation_bits": 3}, "W4AMP3"),
        (4, "mixed", {"bops": 1e9}, "W4AMP1GBOPs"),
    ],
)
def test_labels_name_a_budget_where_its_bits_are(
    w_bits: int | str, a_bits: int | str, budget: dict[str, float] | None, label: str
) -> None:
    table = "table.csv" if budget and "latency_ms" in budget else None
    spec = QuantSpec(w_bits, a_bits, budget=budget, latency_table=table)  # type: ignore[arg-type]
    assert spec.label == label
