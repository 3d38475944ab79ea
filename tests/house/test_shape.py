"""Files and functions stay small, and no macro hides a jump."""

import json
import shutil
import subprocess

import pytest
import shape

# 1,500 for the loop, the cold halves of four kinds of transports (decision 0006), of the streams
# (0010) and of TLS (0009), what stands in front of the primitives (0011) and of gather() and the
# like (0012), what other projects see (gunicorn's workers and uvloop's name), what `info` tells,
# and how usual children are started.  The one place that says how long the face may be.
FACE_LINES = 3800
# open_file() stands on the loop and is no part of it (decision 0013).
FILE_LINES = 1200
# The bench command is a program of its own, which nothing else imports.
BENCH_LINES = 2900


def lines_of(paths):
    """How many lines some files have together."""
    return sum(path.read_text().count("\n") for path in paths)


def test_sizes_are_within_their_limits(root):
    figures, found = shape.measure(root / "src")
    assert figures["functions"] > 0, "no C function was found"
    assert shape.missed(figures) == [], (figures, found[:3])


def test_the_python_face_stays_thin(root):
    sources = set((root / "casyncio").glob("*.py"))
    files = {path for path in sources if path.name.startswith("_files")}
    assert 0 < lines_of(sources - files) <= FACE_LINES
    assert 0 < lines_of(files) <= FILE_LINES


def test_the_bench_command_stays_small_and_apart(root):
    assert 0 < lines_of((root / "casyncio/_bench").glob("*.py")) <= BENCH_LINES
    users = [p.name for p in (root / "casyncio").glob("*.py") if "_bench" in p.read_text()]
    assert users == ["_cli.py"]


def test_measuring_a_folder_without_functions_fails(tmp_path, capsys):
    assert shape.main([str(tmp_path), "--gate"]) == 2
    assert "no C function" in capsys.readouterr().out


def test_a_long_function_and_a_hidden_jump_miss_their_targets(tmp_path):
    body = "    x++;\n" * 120
    (tmp_path / "a.c").write_text(
        "#define FAIL(x) \\\n    do { goto done; } while (0)\n\n"
        f"int\nlong_one(int x)\n{{\n{body}}}\n"
    )
    figures, found = shape.measure(tmp_path)
    assert found[0][:2] == (124, "long_one")
    assert {"func_max", "hidden_flow"} <= set(shape.missed(figures))


@pytest.mark.skipif(not shutil.which("ctags"), reason="universal-ctags is not installed")
def test_ctags_finds_the_same_functions(root):
    paths = sorted((root / "src").rglob("*.[ch]"))
    listing = subprocess.run(
        ["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f", "--language-force=C"]
        + ["-L", "-", "-f", "-"],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip(f"this ctags is another one: {listing.stderr.splitlines()[:1]}")
    tags = map(json.loads, listing.stdout.splitlines())
    theirs = {(tag["path"], tag["name"], tag["end"]) for tag in tags if "end" in tag}
    ours = {
        (str(path), name, last)
        for path in paths
        for name, _, last in shape.functions(path.read_text())
    }
    assert ours == theirs
