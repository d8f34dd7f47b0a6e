"""Views of results in Weights & Biases."""
