"""Sony's Model Compression Toolkit: post-training quantization, plain and by gradients (GPTQ).

Its target platform is its default, IMX500 v1.0, at other bits: the way to other bits that the
docstring of `get_tpc` names.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from bench.peers.base import BATCH, Tool, Way
from models.quantize.spec import FLOAT_BITS

_EPOCHS = 50


class _Inside(nn.Module):
    """A network under a name: MCT takes a layer called `output`, as pytorchcv has it, for the end
    of the graph.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def _ptq(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    import model_compression_toolkit as mct

    made, _ = mct.ptq.pytorch_post_training_quantization(
        _Inside(network), _batches(images), target_platform_capabilities=_platform(w_bits, a_bits)
    )
    return _evaluated(made)


def _gptq(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    import model_compression_toolkit as mct

    made, _ = mct.gptq.pytorch_gradient_post_training_quantization(
        _Inside(network),
        _batches(images),
        gptq_config=mct.gptq.get_pytorch_gptq_config(n_epochs=_EPOCHS),
        target_platform_capabilities=_platform(w_bits, a_bits),
    )
    return _evaluated(made)


def _batches(images: Tensor) -> Callable[[], Iterator[list[Tensor]]]:
    def batches() -> Iterator[list[Tensor]]:
        for batch in images.split(BATCH):
            yield [batch]

    return batches


def _evaluated(made: Any) -> nn.Module:
    network: nn.Module = made.eval()
    return network


def _platform(w_bits: int, a_bits: int) -> Any:
    from model_compression_toolkit.target_platform_capabilities.constants import (
        KERNEL_ATTR,
        WEIGHTS_N_BITS,
    )
    from model_compression_toolkit.target_platform_capabilities.tpc_models.imx500_tpc.v1_0 import (
        tpc,
    )

    layers, _, others = tpc.get_op_quantization_configs()
    low = a_bits != FLOAT_BITS
    bits = a_bits if low else 8
    activations = {
        "enable_activation_quantization": low,
        "activation_n_bits": bits,
        "supported_input_activation_n_bits": (bits,),
    }
    layers = layers.clone_and_edit(
        attr_to_edit={KERNEL_ATTR: {WEIGHTS_N_BITS: w_bits}}, **activations
    )
    others = others.clone_and_edit(**activations)
    return tpc.generate_tpc(others, layers, [layers], "imx500_tpc")


TOOL = Tool(
    name="MCT",
    packages=("model-compression-toolkit",),
    modules=("model_compression_toolkit",),
    ways=(Way("PTQ", _ptq), Way(f"GPTQ, {_EPOCHS} epochs", _gptq)),
    note="its defaults: platform IMX500 v1.0, at these bits; BatchNorm folded; weights symmetric "
    "by output channel, MSE thresholds, biases corrected; thresholds of activations are powers of "
    f"two; GPTQ: {_EPOCHS} epochs of batches of {BATCH}",
    imports=("model_compression_toolkit",),
)
