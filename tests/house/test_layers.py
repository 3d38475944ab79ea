"""Includes point down, Python stays above its line, backends stay unknown above it."""

import re

import layers
import pytest


def test_every_include_points_down(root):
    src = root / "src"
    assert list(src.rglob("*.c")), "there is no C file"
    broken = [f"{path}:{number}: {why}" for path, number, why in layers.check(src)]
    assert broken == []


def test_checking_a_folder_without_c_files_fails(tmp_path, capsys):
    assert layers.main([str(tmp_path)]) == 2
    assert "no C file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "line", "why"),
    [
        ("base/x.c", '#include "reactor/y.h"', "looks up from base to reactor/y.h"),
        ("reactor/x.c", "#include <Python.h>", "below the Python line: Python.h"),
        ("reactor/x.c", "PyObject *op;", "below the Python line: PyObject"),
        ("loop/x.c", '#include "loop/other.c"', "includes a source file: loop/other.c"),
        ("loop/x.c", '#include "loop/none.h"', "includes what is not there"),
        ("loop/x.c", "#if PY_VERSION_HEX > 0", "only py/compat.h asks"),
        ("loop/x.c", "#ifdef Py_GIL_DISABLED", "only py/compat.h asks"),
        ("loop/x.c", 'if (strcmp(name, "epoll") == 0) {', "a backend is named"),
        ("api/x.c", "ca_backend *be = &ca_backend_poll;", "a backend is named"),
        ("api/x.c", "if (be->vt->name[0] == 'e') {", "used for more than a report"),
        ("attic/x.c", "int x;", "is not in ORDER"),
    ],
)
def test_a_planted_offence_is_found(tmp_path, path, line, why):
    for name in ("reactor/y.h", "loop/other.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("int y;\n")
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"/* x.c */\n{line}\n")
    found = [f"{where}: {what}" for where, _, what in layers.check(tmp_path)]
    assert len(found) == 1 and why in found[0]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("loop/x.c", '#include "base/y.h"'),
        ("loop/x.c", "/* the epoll backend asks PY_VERSION_HEX */"),
        ("py/compat.h", "#if PY_VERSION_HEX > 0"),
        ("backend/x.c", 'if (strcmp(name, "epoll") == 0) {'),
        ("api/x.c", "return PyUnicode_FromString(be->vt->name);"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path, path, line):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/y.h").write_text("int y;\n")
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(f"{line}\n")
    assert list(layers.check(tmp_path)) == []


def test_plain_c_tests_do_without_python(root):
    programs = sorted((root / "tests/c").glob("*.[ch]"))
    assert programs, "there is no C test"
    for path in programs:
        assert "Python.h" not in path.read_text(), path


def test_the_python_face_detects_features_and_not_versions(root):
    sources = sorted((root / "casyncio").rglob("*.py"))
    assert sources, "there is no Python file"
    question = re.compile(r"\bversion_info\s*[<>=\[]|\bhexversion\b|python_version_tuple")
    for path in sources:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not question.search(line), f"{path}:{number}: {line}"
