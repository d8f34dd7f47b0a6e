"""Finished cells as files of integers, and what these compute."""
