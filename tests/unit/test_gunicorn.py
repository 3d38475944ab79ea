"""The module of gunicorn's workers: nothing is imported before it is wanted."""

import sys
import types

import pytest

import casyncio.gunicorn

pytestmark = pytest.mark.ours("it is about a module of casyncio's own")


def test_importing_the_module_needs_no_server(run_python):
    code = (
        "import sys, casyncio.gunicorn; print({'gunicorn', 'uvicorn', 'aiohttp'} & {*sys.modules})"
    )
    done = run_python(["-c", code])
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


def test_a_worker_whose_project_is_missing_is_an_import_error(monkeypatch):
    for name in ("uvicorn_worker", "uvicorn.workers", "aiohttp.worker"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in casyncio.gunicorn.__all__:
        casyncio.gunicorn.__dict__.pop(name, None)
        with pytest.raises(ImportError):
            getattr(casyncio.gunicorn, name)


def test_the_older_home_of_uvicorns_worker_is_used_where_there_is_no_newer_one(monkeypatch):
    older = types.ModuleType("uvicorn.workers")
    older.UvicornWorker = type(
        "UvicornWorker", (), {"CONFIG_KWARGS": {"loop": "auto", "http": "x"}}
    )
    monkeypatch.setitem(sys.modules, "uvicorn_worker", None)
    monkeypatch.setitem(sys.modules, "uvicorn.workers", older)
    worker = casyncio.gunicorn._make_uvicorn_worker()
    assert issubclass(worker, older.UvicornWorker)
    assert worker.CONFIG_KWARGS == {"loop": "casyncio:new_event_loop", "http": "x"}
    assert older.UvicornWorker.CONFIG_KWARGS["loop"] == "auto"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'GeventWorker'"):
        _ = casyncio.gunicorn.GeventWorker
    assert set(casyncio.gunicorn.__all__) <= set(dir(casyncio.gunicorn))
