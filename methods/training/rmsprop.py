"""RMSprop as TensorFlow and Optax have it."""

from collections.abc import Iterable
from typing import Any

import torch

DECAY = 0.9
EPSILON = 1e-3


class RMSprop(torch.optim.Optimizer):
    """RMSprop with epsilon inside the root and the learning rate inside the momentum.

        g = gradient + weight_decay p        m = DECAY m + (1 - DECAY) g^2, from 0
        v = momentum v + lr g / sqrt(m + EPSILON), from 0        p = p - v

    torch.optim.RMSprop adds its epsilon behind the root and multiplies by the rate last; timm's
    RMSpropTF starts m at 1. DECAY and EPSILON are those of the released code of Schaefer et al.
    (WACV 2024; examples/train_utils.py, optax.rmsprop).

    params: groups may have a weight_decay of their own.
    """

    def __init__(
        self, params: Iterable[dict[str, Any]], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["mean_square"] = torch.zeros_like(parameter)
                    state["velocity"] = torch.zeros_like(parameter)
                mean_square, velocity = state["mean_square"], state["velocity"]
                gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
                mean_square.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
                root = mean_square.add(EPSILON).sqrt_()
                velocity.mul_(group["momentum"]).addcdiv_(gradient, root, value=group["lr"])
                parameter.sub_(velocity)
