"""Files and functions stay small, and no macro hides a jump."""

import json
import shutil
import subprocess

import pytest
import shape

# 1,500 for the loop, plus the cold halves of four kinds of transports (decision 0006) and of TLS
# (decision 0009).
FACE_LINES = 2250


def test_sizes_are_within_their_limits(root):
    figures, found = shape.measure(root / "src")
    assert figures["functions"] > 0, "no C function was found"
    assert shape.missed(figures) == [], (figures, found[:3])


def test_the_python_face_stays_thin(root):
    sources = sorted((root / "casyncio").rglob("*.py"))
    assert sources, "there is no Python file"
    lines = sum(path.read_text().count("\n") for path in sources)
    assert lines <= FACE_LINES


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
