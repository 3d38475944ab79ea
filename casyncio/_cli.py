"""The launcher: run a program on casyncio without changing a line of it.

    python -m casyncio [options] script.py args...
    python -m casyncio [options] -m module args...
    python -m casyncio [options] -c code args...
    python -m casyncio info
    python -m casyncio bench [--help]

``--as-uvloop`` gives casyncio to programs that import uvloop, too, and to the Python processes
that they start.

``--accelerate`` also gives the program our primitives, in the place of asyncio's.

The program sees the ``sys.argv``, ``sys.path[0]`` and ``__main__`` that ``python`` itself
would give it, and its exit status is that of ``python`` too.
"""

from __future__ import annotations

import io
import os
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import NamedTuple, NoReturn

USAGE = (
    "usage: python -m casyncio [--backend NAME] [--accelerate] [--debug] [--as-uvloop] "
    "[--version] (script | -m module | -c code | info | bench) ..."
)


class Options(NamedTuple):
    """What the command line says: ``kind`` is script, module, code, info, bench or version."""

    kind: str
    target: str
    args: list[str]
    backend: str | None
    debug: bool
    accelerate: bool
    as_uvloop: bool


def _refuse(message: str) -> NoReturn:
    print(f"{USAGE}\npython -m casyncio: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def _is_program(path: str) -> bool:
    """Whether ``python path`` would find something to run."""
    return os.path.isfile(path) or os.path.isfile(os.path.join(path, "__main__.py"))


def parse(argv: list[str]) -> Options:
    """Read our own options up to the program; what follows belongs to the program.

    Ends the process with status 2 and a message when the line makes no sense, with status 0
    after ``--help``.
    """
    backend: str | None = None
    debug = accelerate = as_uvloop = False
    rest = list(argv)

    def flags() -> tuple[str | None, bool, bool, bool]:
        return backend, debug, accelerate, as_uvloop

    while rest:
        word = rest.pop(0)
        if word == "--backend" or word.startswith("--backend="):
            _, equals, backend = word.partition("=")
            if not equals:
                backend = rest.pop(0) if rest else None
            if not backend:
                _refuse("--backend needs a name")
        elif word == "--debug":
            debug = True
        elif word == "--accelerate":
            accelerate = True
        elif word == "--as-uvloop":
            as_uvloop = True
        elif word == "--version":
            return Options("version", "", rest, *flags())
        elif word in ("-h", "--help"):
            print(f"{USAGE}\n{__doc__}")
            raise SystemExit(0)
        elif word in ("-m", "-c"):
            if not rest:
                _refuse(f"argument expected for the {word} option")
            kind = "module" if word == "-m" else "code"
            return Options(kind, rest[0], rest[1:], *flags())
        elif word.startswith("-") and word != "-":
            _refuse(f"unknown option {word}")
        elif word in ("info", "bench") and not _is_program(word):
            return Options(word, "", rest, *flags())
        else:
            return Options("script", word, rest, *flags())
    _refuse("nothing to run")


def _fresh_main() -> types.ModuleType:
    """Put an empty ``__main__`` in the place of our own."""
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    if "__annotations__" in vars(sys.modules["__main__"]):  # not from Python 3.14 on
        module.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = module
    return module


def _run_code(source: str, args: list[str]) -> None:
    sys.argv[:] = ["-c", *args]
    sys.path[0] = ""
    exec(compile(source, "<string>", "exec"), _fresh_main().__dict__)


def _run_module(name: str, args: list[str]) -> None:
    sys.argv[:] = ["-m", *args]
    sys.path[0] = os.getcwd()
    _fresh_main()
    run_as_main = getattr(runpy, "_run_module_as_main", None)
    if run_as_main is not None:
        run_as_main(name, alter_argv=True)
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_script(path: str, args: list[str]) -> None:
    sys.argv[:] = [path, *args]
    if os.path.isdir(path) or path.endswith((".zip", ".pyz", ".pyc")):
        del sys.path[0]
        runpy.run_path(path, run_name="__main__")
        return
    try:
        with io.open_code(os.path.abspath(path)) as stream:
            source = stream.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {os.path.abspath(path)!r}: "
            f"[Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    file = os.path.abspath(path)
    namespace = _fresh_main().__dict__
    namespace["__file__"] = file
    namespace["__cached__"] = None
    namespace["__loader__"] = SourceFileLoader("__main__", file)
    exec(compile(source, file, "exec"), namespace)


def main(argv: list[str]) -> int:
    """Run what the command line names; returns the exit status of our own verbs."""
    options = parse(argv)
    if options.kind == "version":
        import casyncio

        print(f"casyncio {casyncio.__version__}")
        return 0
    if options.backend is not None:
        os.environ["CASYNCIO_BACKEND"] = options.backend
    if options.kind == "info":
        from casyncio import _info

        return _info.main()
    if options.kind == "bench":
        from casyncio._bench import cli

        return cli.main(options.args)
    _prepare(options)
    runners = {"script": _run_script, "module": _run_module, "code": _run_code}
    runners[options.kind](options.target, options.args)
    return 0


def _prepare(options: Options) -> None:
    """Make loops ours, and refuse a bad backend before the program starts."""
    import casyncio

    try:
        casyncio.new_event_loop().close()
    except (ValueError, OSError) as error:
        _refuse(str(error))
    if options.debug:
        os.environ["PYTHONASYNCIODEBUG"] = "1"
    if options.as_uvloop:
        from casyncio import _uvloop

        _uvloop.put_in_place()
        _uvloop.reach_children()
    try:
        casyncio.install(accelerate=options.accelerate)
    except RuntimeError as error:
        _refuse(str(error))
