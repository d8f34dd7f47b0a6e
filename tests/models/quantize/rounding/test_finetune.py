"""Finetuning of values that weights share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.quantize.rounding.codebook import joined
from models.quantize.rounding.finetune import Finetuning, Student

Golden = Callable[[str], dict[str, np.ndarray]]


class Pulled(nn.Module):
    """Whose loss has, step by step, the gradients that are given."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)


def test_steps_of_the_release(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = golden("ktb_pq")
    weight = torch.from_numpy(recorded["sgd_W0"])
    assignments = torch.from_numpy(recorded["conv_assignments"][-1]).long()
    shared = joined(assignments[:, None] * 9 + torch.arange(9), weight)
    for steps, wanted in enumerate(recorded["sgd_W"], 1):
        network = Pulled(weight.clone())
        gradients = iter(torch.from_numpy(recorded["sgd_grads"]))
        monkeypatch.setattr(nn.Module, "__call__", lambda self, x: x.flatten(1))
        student = Student(network, torch.ones(2, 3, 1, 1), Finetuning(steps, 0, 0.01), None)  # type: ignore[arg-type]
        monkeypatch.setattr(
            student, "_loss", lambda n=network, g=gradients: (n.weight * next(g)).sum()
        )
        student.learn_layer(network.weight, shared)
        found = network.weight.detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=2**-11, atol=1e-6)  # in 16 bits
