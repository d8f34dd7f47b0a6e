"""Figures of the documentation, made from the code they are about."""
