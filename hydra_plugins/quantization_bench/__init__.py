"""Hydra plugins of the harness."""
