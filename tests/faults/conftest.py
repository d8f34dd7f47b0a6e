"""The fixtures of the harness, for tests that break things under it."""

from tests.bench.conftest import (
    _default,
    _digits_read_once,
    _no_account,
    bench_main,
    bench_process,
    make_config,
    make_fast,
    make_result,
    outputs,
    workplace,
)

__all__ = [
    "_default",
    "_digits_read_once",
    "_no_account",
    "bench_main",
    "bench_process",
    "make_config",
    "make_fast",
    "make_result",
    "outputs",
    "workplace",
]
