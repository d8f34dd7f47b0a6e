"""New weights for a network that is trained from scratch."""

import copy

import torch
from torch import nn


def drawn_anew(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy of `network` with newly drawn weights (He et al., 2015), on its device.

    Convolutions are normal with the fan-out, linear layers with the fan-in, biases 0,
    BatchNorm as new; tables of embeddings are uniform, as fastText starts them. generator: CPU.
    """
    device = next(network.parameters()).device
    fresh = copy.deepcopy(network).cpu()
    with torch.no_grad():
        for module in fresh.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
            elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
                bound = 1 / module.embedding_dim
                nn.init.uniform_(module.weight, -bound, bound, generator)
                if module.padding_idx is not None:
                    module.weight[module.padding_idx] = 0
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.zero_()
    return fresh.to(device)
