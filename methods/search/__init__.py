"""Choosing bits by reinforcement learning."""
