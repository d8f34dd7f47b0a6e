"""Intervals of an accuracy, and tests of a difference."""
