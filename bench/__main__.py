"""`python -m bench` is `bench`."""

from bench.cli import command

command()
