"""From a quantized network to an ONNX file with integers."""
