import pytest

from bench.tables.delta import delta_b


def test_the_printed_values_of_coquant() -> None:
    """Its table 1: ResNet-18 on CIFAR-10."""
    own = [{0: 95.1}, {0: 95.4}, {0: 95.0}, {0: 94.1}]
    assert delta_b(own, own) == {0: 100.0}
    joint = [{0: 34.3}, {0: 44.7}, {0: 56.0}, {0: 26.7}]
    assert delta_b(joint, own)[0] == pytest.approx(42.6, abs=0.05)
    coquant = [{0: 95.2}, {0: 95.4}, {0: 95.1}, {0: 94.1}]
    assert delta_b(coquant, own)[0] == pytest.approx(100.1, abs=0.05)


def test_each_seed_by_the_mean_of_the_reference() -> None:
    # The reference is 50 and 100 on average; 25/50 and 100/100 are 75 %, 50/50 and 50/100 too.
    reference = [{0: 40.0, 1: 60.0}, {0: 100.0}]
    assert delta_b([{0: 25.0, 7: 50.0}, {0: 100.0, 7: 50.0}], reference) == {0: 75.0, 7: 75.0}


def test_only_seeds_that_are_done_at_all_bits() -> None:
    reference = [{0: 50.0}, {0: 50.0}]
    assert delta_b([{0: 50.0, 1: 50.0}, {1: 50.0}], reference) == {1: 100.0}
    assert delta_b([{0: 50.0}, {1: 50.0}], reference) == {}


def test_nothing_without_the_reference() -> None:
    assert delta_b([{0: 50.0}, {0: 50.0}], [{0: 50.0}, {}]) == {}
    assert delta_b([{0: 50.0}], [{0: 50.0}, {0: 50.0}]) == {}
    assert delta_b([{0: 50.0}], [{0: 0.0}]) == {}
    assert delta_b([], []) == {}
