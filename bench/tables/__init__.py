"""The table of an experiment."""
