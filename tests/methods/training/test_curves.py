"""Values over the steps of an epoch."""

import torch

from methods.training.curves import MOST, Curves


def test_all_of_few_and_evenly_chosen_ones_of_many_are_kept() -> None:
    curves = Curves()
    for step in range(3):
        curves.note({"size": torch.tensor(float(step))})
    assert curves.record() == {"size": [0.0, 1.0, 2.0]}
    assert curves.record() == {}
    for step in range(2 * MOST):
        curves.note({"size": torch.tensor(float(step))})
    assert curves.record()["size"] == [float(2 * at + 1) for at in range(MOST)]


def test_an_epoch_may_be_taken_up_in_its_middle() -> None:
    whole, first, second = Curves(), Curves(), Curves()
    for step in range(5):
        whole.note({"size": torch.tensor(step / 3)})
        if step == 2:
            second.restore(first.state())
        (first if step < 2 else second).note({"size": torch.tensor(step / 3)})
    assert second.record() == whole.record()


def test_what_is_changed_later_is_kept_as_it_was() -> None:
    value, curves = torch.tensor(1.0), Curves()
    curves.note({"size": value})
    value.add_(1)
    assert curves.record() == {"size": [1.0]}
