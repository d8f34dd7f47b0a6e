"""Method plugins: where the calibration images of a quantized model come from."""
