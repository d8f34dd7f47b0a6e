"""From a float network to a fake-quantized one."""
