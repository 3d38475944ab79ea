"""Under ``-X dev -W always`` casyncio's loop warns of nothing that asyncio's does not warn of."""

import pathlib
import sys

import pytest
from compare_warnings import compare
from suite_rules import PREFIX, load_warnings

# Those that make transports, child processes and tasks; compare_warnings.py runs all.
MODULES = ("test_server", "test_streams", "test_subprocess", "test_taskgroups", "test_unix_events")
HERE = str(pathlib.Path(__file__).parent)


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info < (3, 13), reason="once is enough: 3.13 and later")
def test_there_is_no_warning_and_no_failure_that_asyncio_has_not():
    pair, found = compare([PREFIX + name for name in MODULES])
    assert len(pair.ours.results) == len(pair.stock.results) > 100
    bad = {test: texts for test, texts in found.items() if test not in load_warnings()}
    assert not bad, "\n".join(f"{test}: {texts}" for test, texts in bad.items())


def test_a_warning_of_one_loop_alone_is_found():
    sample = {"policy": "", "path": (HERE,), "retries": 0}
    pair, found = compare(["sample_suite"], loop="sample_loops:WarningLoop", **sample)
    timer = "sample_suite.SampleTests.test_2_timer"
    assert list(found) == [timer]
    (text,) = found[timer]
    assert text.startswith("RuntimeWarning: timer at 0x")
    assert pair.stock.results[timer]["warnings"] == []
