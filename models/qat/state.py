"""From the state dict of a quantizable network to that of the float network it was made of."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.qat.layers import QuantizedLayer, Switchable


def float_state(network: nn.Module, bits: int) -> dict[str, Tensor]:
    """Return the state dict of the float network with the weights, and the BatchNorm of `bits`."""
    state = network.state_dict()
    copies = (str(bits), f"{bits}_{bits}")  # private, transitional
    return {
        float_key: state[key]
        for key, float_key in _float_keys(network, state).items()
        if ".of_bits." not in key or key.split(".of_bits.")[1].split(".")[0] in copies
    }


def _float_keys(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return each key of the quantizable network that the float one has too, and its name there."""
    # A module that is registered twice has its keys twice.
    modules = network.named_modules(remove_duplicate=False)
    parts = {n: m for n, m in modules if isinstance(m, Switchable)}
    learned: list[str] = []
    private: dict[str, str] = {}
    for name, module in parts.items():
        prefix = f"{name}." if name else ""
        if isinstance(module, QuantizedLayer):
            learned += [f"{prefix}weight_quantizer.", f"{prefix}input_quantizer."]
        else:
            copies = dict(module.named_children())["of_bits"]
            private |= {f"{prefix}of_bits.{b}.": prefix for b, _ in copies.named_children()}
    names = {}
    for key in state:
        if key.startswith(tuple(learned)):
            continue
        at = next((p for p in private if key.startswith(p)), None)
        names[key] = key if at is None else private[at] + key.removeprefix(at)
    return names
