"""Between the state dict of a float network and that of its quantizable copy."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.errors import BenchError
from models.qat.layers import QuantizedLayer, Switchable
from models.qat.network import quantized_layers


def load_float_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the state dict of the float network; each bit-width gets its BatchNorm.

    Learned steps and ranges of weights start again from the new weights; those of activations stay.
    Raises BenchError for missing and unexpected keys.
    """
    own = network.state_dict()
    needed = _float_keys(network, own)
    missing = sorted(set(needed.values()) - set(state))
    unexpected = sorted(set(state) - set(needed.values()))
    for what, keys in (("lacks", missing), ("has the unexpected", unexpected)):
        if keys:
            raise BenchError(
                f"the float state {what} {keys[0]!r} and {len(keys) - 1} more; it must be of the "
                "network that was made quantizable"
            )
    network.load_state_dict(own | {key: state[float_key] for key, float_key in needed.items()})
    for layer in quantized_layers(network).values():
        layer.weight_quantizer.reset_from(layer.weight)


def float_state(network: nn.Module, bits: int) -> dict[str, Tensor]:
    """Return the state dict of the float network with the weights, and the BatchNorm of `bits`."""
    own = network.state_dict()
    wanted = (str(bits), f"{bits}_{bits}")  # private, transitional
    return {
        float_key: own[key]
        for key, float_key in _float_keys(network, own).items()
        if ".of_bits." not in key or key.split(".of_bits.")[1].split(".")[0] in wanted
    }


def _float_keys(network: nn.Module, own: Mapping[str, Tensor]) -> dict[str, str]:
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
    found = {}
    for key in own:
        if key.startswith(tuple(learned)):
            continue
        at = next((p for p in private if key.startswith(p)), None)
        found[key] = key if at is None else private[at] + key.removeprefix(at)
    return found
