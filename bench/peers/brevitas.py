"""Brevitas (AMD), by the steps of its own example for ImageNet, `brevitas_examples`.

Read in release 0.13.4: imagenet_classification/ptq/ptq_evaluate.py and ptq_common.py.
"""

import copy

import torch
from torch import Tensor, nn

from bench.peers.base import BATCH, Tool, Way
from models.quantize.spec import FLOAT_BITS

_PERCENTILE = 99.999  # the example's own for activations


def _way(name: str, scales: str = "stats", gptq: bool = False, corrected: bool = False) -> Way:
    """Return the example's steps. scales: of weights, `stats` for their largest value, or `mse`."""

    def quantized(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
        from brevitas.graph.quantize import layerwise_quantize, preprocess_for_quantize
        from brevitas_examples.imagenet_classification.ptq import ptq_common

        # Its graphs turn ReLU6 into ReLU; layer by layer the network stays what it is.
        plain = preprocess_for_quantize(copy.deepcopy(network), relu6_to_relu=False)
        _, layers, *_ = ptq_common.create_quant_maps(
            dtype=torch.float32,
            device=images.device,
            weight_bit_width=w_bits,
            act_bit_width=None if a_bits == FLOAT_BITS else a_bits,
            bias_bit_width=None,
            weight_param_method=scales,
            weight_scale_type="float_scale",
            weight_quant_type="sym",
            weight_quant_granularity="per_channel",
            weight_narrow_range=False,
            weight_quant_format="int",
            act_quant_format="int",
            act_scale_type="float_scale",
            act_param_method="stats",
            act_quant_type="asym",
            act_quant_granularity="per_tensor",
            act_quant_percentile=_PERCENTILE,
            act_scale_computation_type="static",
        )
        made = layerwise_quantize(plain, compute_layer_map=layers)
        labels = torch.zeros(len(images), dtype=torch.long)
        batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
        with torch.no_grad():
            made(batches[0][0])
        if a_bits != FLOAT_BITS:
            ptq_common.calibrate(batches, made)
        if gptq:
            ptq_common.apply_gptq(batches, made, create_weight_orig=True)
        if corrected:
            ptq_common.apply_bias_correction(batches, made)
        result: nn.Module = made.eval()
        return result

    return Way(name, quantized)


TOOL = Tool(
    name="brevitas",
    packages=("brevitas",),
    modules=("brevitas", "brevitas_examples"),
    ways=(
        _way("PTQ"),
        _way("PTQ, bias correction", corrected=True),
        _way("GPTQ, MSE scales", scales="mse", gptq=True),
        _way("GPTQ, MSE scales, bias correction", scales="mse", gptq=True, corrected=True),
    ),
    note="BatchNorm folded; weights symmetric by output channel, their scale the largest value or "
    "the least squared error; activations affine by tensor, their range between percentiles "
    "of 0.001 and 99.999: inputs of every layer, not of additions; first and last as the others",
    imports=(
        "brevitas.graph.quantize",
        "brevitas_examples.imagenet_classification.ptq.ptq_common",
    ),
)
