"""Quantization-aware training: quantizers that are trained through, one weight set at many bits."""
