"""A network whose bits can be changed at once, and how good it is at them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.search.finetune import FineTuning, Labelled, fine_tune
from models.canonical import canonical_copy
from models.errors import BenchError
from models.quantize.activation import ActivationQuantizer, weighted_layers
from models.quantize.bits import ChosenBits, LayerBits
from models.quantize.calibration import calibrated
from models.quantize.fold import fold_batchnorm
from models.quantize.fuse import fuse_relus
from models.quantize.layers import special_layers, weight_formats
from models.quantize.rounding.base import Layer, Rounded, Rounding
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.registry import make_rounding
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec

_BATCH = 128


class Tuned(NamedTuple):
    """Accuracies in percent: on the held-out images, and on the best batch of the fine-tuning."""

    held_out: float
    best_batch: float


class KeptWeights:
    """The weight of each layer at each bit-width that was asked for; made once and kept.

    layers: by name, in float.

    Raises BenchError for a rounding that looks at inputs: what it makes of a layer depends on the
    bits of others.
    """

    def __init__(self, layers: Mapping[str, nn.Conv2d | nn.Linear], spec: QuantSpec) -> None:
        rounding = make_rounding(spec.rounding, spec.as_dict())
        if isinstance(rounding, BlockRounding) or rounding.inputs != "none":
            raise BenchError(
                f"quant.rounding={spec.rounding} looks at the inputs of a layer, which depend on "
                "the bits of the others, and a search keeps each weight at each bit-width; use "
                "nearest or kmeans"
            )
        self._rounding: Rounding = rounding
        self._spec = spec
        self._layers = {
            name: (layer.weight.detach().clone(), getattr(layer, "groups", 1))
            for name, layer in layers.items()
        }
        self._kept: dict[tuple[str, int], Rounded] = {}

    def at(self, name: str, bits: LayerBits) -> Tensor:
        """Return the weight of a layer at its bits, or at those of its output channels."""
        if not isinstance(bits, Sequence):
            return self._at(name, int(bits))
        weight = torch.zeros_like(self._layers[name][0])
        needed = torch.tensor(bits, device=weight.device)
        for b in set(bits) - {0}:
            of_bits = needed == b
            weight[of_bits] = self._at(name, b)[of_bits]
        return weight

    def floats(self) -> dict[str, Tensor]:
        """Return the float weights, by layer."""
        return {name: weight for name, (weight, _) in self._layers.items()}

    def projected(self, name: str, weight: Tensor, bits: LayerBits) -> Tensor:
        """Return another weight of a layer as the kept one at `bits` is made.

        Weights that share a value there share their mean here.
        """
        if isinstance(bits, Sequence):
            made = torch.zeros_like(weight)
            needed = torch.tensor(bits, device=weight.device)
            for b in set(bits) - {0}:
                made[needed == b] = self._rounded(name, weight, b).weight[needed == b]
            return made
        if bits == FLOAT_BITS:
            return weight
        self._at(name, int(bits))
        shared = self._kept[name, int(bits)].shared
        if shared is None:
            return self._rounded(name, weight, int(bits)).weight
        labels = shared.flatten()
        sums = weight.new_zeros(int(labels.max()) + 1).index_add_(0, labels, weight.flatten())
        means = sums / labels.bincount().clamp(min=1)
        return means[labels].view_as(weight)

    def _at(self, name: str, bits: int) -> Tensor:
        if bits == FLOAT_BITS:
            return self._layers[name][0]
        if (name, bits) not in self._kept:
            self._kept[name, bits] = self._rounded(name, self._layers[name][0], bits)
        return self._kept[name, bits].weight

    def _rounded(self, name: str, weight: Tensor, bits: int) -> Rounded:
        weight_format = weight_formats({name: bits}, self._spec)[name]
        self._rounding.check(weight_format)
        generator = torch.Generator().manual_seed(0)
        layer = Layer(weight, weight_format, None, generator, self._layers[name][1])
        return self._rounding.quantize(layer)


class Environment:
    """A quantized copy of a network that takes any bits.

    Ranges of activations are those of the network with float weights, found once for each number
    of bits; what the recipe does after rounding (corrections) is left out. Both come when the bits
    are chosen.

    network: float. images: (N, C, H, W) calibration images. held_out: what accuracy is taken on.
    """

    @torch.no_grad()
    def __init__(
        self, network: nn.Module, spec: QuantSpec, images: Tensor, held_out: Labelled
    ) -> None:
        self._held_out = held_out
        self.network = canonical_copy(network, images[:1])
        if spec.fold:
            fold_batchnorm(self.network, images[:1])
        special = special_layers(self.network, spec, images[:1])
        base, choices = canonical_copy(self.network, images[:1]), spec.a_candidates

        @torch.no_grad()
        def ranges(bits: int) -> dict[str, dict[str, Tensor]]:
            at_bits = canonical_copy(base, images[:1])
            found = calibrated(at_bits, spec.with_inputs_at(bits), special, images)
            return {name: dict(q.state_dict()) for name, q in found.items()}

        self._ranges = cache(ranges)
        how = spec.with_inputs_at(choices[0] if spec.a_bits == MIXED else spec.a_bits)
        self._quantizers: dict[str, ActivationQuantizer] = calibrated(
            self.network, how, special, images
        )
        self._inputs = dict.fromkeys(self._quantizers, how.a_bits)
        self._layers = weighted_layers(self.network)
        self.kept = KeptWeights(self._layers, spec)
        fuse_relus(self.network, images[:1])
        self.float_top1 = self._top1_of(network)

    @torch.no_grad()
    def take(self, bits: ChosenBits) -> None:
        """Give the network `bits`."""
        for name, of_layer in bits.weights.items():
            self._layers[name].weight.data = self.kept.at(name, of_layer)
        for name, b in bits.inputs.items():
            if self._inputs[name] != b:
                self._quantizers[name].load_state_dict(self._ranges(b)[name])
                self._inputs[name] = b

    def top1(self, bits: ChosenBits) -> float:
        """Return the accuracy of the network at `bits`, in percent, on the held-out images."""
        self.take(bits)
        return self._top1_of(self.network)

    def tuned_top1(
        self, bits: ChosenBits, tuning: Labelled, how: FineTuning, generator: torch.Generator
    ) -> Tuned:
        """Return the accuracy at `bits` after a short fine-tuning, which is forgotten again."""
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.take(bits)
        trained = self.tune(self.network, bits, tuning, how, generator)
        found = self._top1_of(self.network)
        self.network.load_state_dict(before)
        self._inputs = dict.fromkeys(self._inputs, 0)  # ranges are as they were before
        return Tuned(found, trained)

    def tune(
        self,
        network: nn.Module,
        bits: ChosenBits,
        tuning: Labelled,
        how: FineTuning,
        generator: torch.Generator,
    ) -> float:
        """Fine-tune a `network` with these layers, at `bits`; return as `fine_tune` does."""

        def project(name: str, weight: Tensor) -> Tensor:
            return self.kept.projected(name, weight, bits.weights[name])

        return fine_tune(network, self.kept.floats(), project, tuning, how, generator)

    @torch.inference_mode()
    def _top1_of(self, network: nn.Module) -> float:
        images, labels = self._held_out
        parts = zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
        right = sum((network(batch).argmax(1) == of).sum() for batch, of in parts)
        return 100 * float(right) / len(labels)
