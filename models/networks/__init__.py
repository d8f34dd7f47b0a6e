"""Architectures: builders, and how the files of other releases map onto their parameters."""
