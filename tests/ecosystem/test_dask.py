"""Dask's scheduler, workers and client run on casyncio, in processes over loopback."""

import json
import pathlib

import pytest

APPS = pathlib.Path(__file__).parent / "apps"
OURS = "casyncio._loop.Loop"
WORKERS = 2

pytest.importorskip("distributed", reason="Dask's distributed is not installed")


@pytest.fixture
def cluster(serve, on_backend):
    """The address of a scheduler with two workers."""
    run = ["-m", "casyncio", "-m"]
    quiet = {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]"}
    argv = [*run, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = serve([*argv, "--no-dashboard"], {**on_backend, **quiet})
    address = scheduler.expect(r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")[1]
    argv = [*run, "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    for _ in range(WORKERS):
        serve([*argv, "--nthreads", "1", "--memory-limit", "0"], on_backend)
    return address


def test_a_cluster_computes_on_casyncio(cluster, run_python, on_backend):
    done = run_python([APPS / "dask_client.py", cluster, WORKERS], env=on_backend)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["total"] == sum(n * n for n in range(200))
    assert said["bytes"] == 4 * 300_000
    assert said["loops"] == {"client": OURS, "scheduler": OURS, "workers": [OURS] * WORKERS}
