"""The zoo: architectures, the identity of their weights, and how a float model is quantized."""
