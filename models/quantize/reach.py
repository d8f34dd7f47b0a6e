"""Which modules the release of ZeroQ reaches in a network that it quantizes."""

from collections.abc import Iterator

from torch import nn


def in_reach(network: nn.Module, reach: str) -> list[str]:
    """Return the names of the modules of `network` that `reach` ("all" or "release") reaches."""
    if reach == "all":
        return [name for name, _ in network.named_modules()]
    return list(_of_release(network, ""))


def out_of_reach(network: nn.Module, reach: str) -> list[str]:
    """Return the names of the other convolutions, linear layers and ReLUs."""
    if reach == "all":
        return []
    reached = set(in_reach(network, reach))
    kinds = nn.Conv2d | nn.Linear | nn.ReLU | nn.ReLU6
    modules = network.named_modules()
    return [name for name, m in modules if isinstance(m, kinds) and name not in reached]


def _of_release(module: nn.Module, name: str) -> Iterator[str]:
    """Yield what the release's recursion comes by (ZeroQ 9715739, detection, `quantize_model`).

    It goes through the children of an nn.Sequential itself, and elsewhere through the attributes
    that `dir` names: that leaves out names that begin with a digit, and so all that lies in an
    nn.ModuleList or in a subclass of nn.Sequential. Of the attributes it leaves out those that have
    `norm` in their name.
    """
    yield name
    plain = type(module) is nn.Sequential
    for child, inside in module.named_children():
        if plain or not (child[0].isdigit() or "norm" in child):
            yield from _of_release(inside, f"{name}.{child}" if name else child)
