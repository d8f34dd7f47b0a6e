"""The fixtures of the harness, for tests that break things under it."""

import pytest

from tests.bench.conftest import (
    _default,
    _digits_read_once,
    _mode_asked_where_it_is_said,
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
    "_mode_asked_where_it_is_said",
    "_no_account",
    "bench_main",
    "bench_process",
    "make_config",
    "make_fast",
    "make_result",
    "outputs",
    "workplace",
]


@pytest.fixture(autouse=True)
def _warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    """Other tests show what the harness says as it goes on; these look at its warnings."""
    caplog.set_level("WARNING", "bench")
