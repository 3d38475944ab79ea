"""CPython's own tests of streams, and of what uses them, pass with our classes in their place."""

import pytest
from run_cpython_suite import PREFIX, Options, run_suite
from suite_rules import load_exclusions

pytestmark = pytest.mark.timeout(300)

NAMES = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)
PLACES = ("asyncio", "asyncio.streams")
MODULES = ("test_streams", "test_subprocess", "test_server", "test_sslproto", "test_buffered_proto")


def test_streams_of_ours_pass_the_tests_of_stocks(backend):
    replace = tuple(f"{place}:{name}=casyncio:{name}" for place in PLACES for name in NAMES)
    options = Options(replace=replace, env={"CASYNCIO_BACKEND": backend})
    report = run_suite(options, [PREFIX + name for name in MODULES])
    bad = report.bad(load_exclusions(backend=backend))
    assert not bad, "\n".join(f"{test}: {why}" for test, why in bad.items())
    assert report.notes == []
    ran = [test for test in report.results if test.startswith("test_streams.")]
    assert len(ran) > 50
