"""Small rules about the text of files, which a reader would stumble over."""

import re

import pytest

# Written in pieces, so that this file does not break its own rule.
FORBIDDEN = re.compile(
    "|".join(
        [r"(?<![\w.-])/" + "work/", "/tmp/" + r"w\b", r"\bshared" + "/", r"\binherit" + r"\.md"]
    )
)
TEXT = {".c", ".h", ".py", ".pyi", ".md", ".toml", ".txt", ".sh", ".yaml", ".json", ".cfg", ""}


def test_no_file_mentions_the_place_where_it_was_written(files):
    for path in files:
        if path.suffix in TEXT:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not FORBIDDEN.search(line), f"{path}:{number}: {line}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /" + "work/main", True),
        ("in /tmp/" + "w/x", True),
        ("../shared" + "/bench", True),
        ("networks share /var/works", False),
    ],
)
def test_that_rule_sees_what_it_is_for(line, found):
    assert bool(FORBIDDEN.search(line)) is found


def test_every_c_file_opens_with_its_name_and_its_purpose(c_files):
    for path in c_files:
        first = path.read_text().splitlines()[0]
        assert re.match(rf"/\* {re.escape(path.name)} - \S.*", first), f"{path}: {first}"


def test_c_files_are_plain_text_of_79_columns(c_files):
    for path in c_files:
        text = path.read_text()
        assert text.isascii() and "\t" not in text and text.endswith("\n"), path
        for number, line in enumerate(text.splitlines(), 1):
            assert len(line) <= 79 and line == line.rstrip(), f"{path}:{number}: {line}"


def test_header_guards_spell_the_path(root):
    headers = sorted((root / "src").rglob("*.h"))
    assert headers, "there is no header"
    for path in headers:
        guard = "CA_" + re.sub(r"\W", "_", str(path.relative_to(root / "src"))).upper()
        text = path.read_text()
        assert f"#ifndef {guard}\n#define {guard}\n" in text, f"{path}: {guard}"
        assert text.rstrip().endswith("#endif"), path


def test_the_build_lists_exactly_the_sources_that_exist(root, c_files):
    listed = re.findall(r"^    (src/\S+\.c)$", (root / "CMakeLists.txt").read_text(), re.M)
    exist = {
        str(path.relative_to(root))
        for path in c_files
        if path.suffix == ".c" and path.is_relative_to(root / "src")
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == exist


def test_links_between_documents_lead_somewhere(root, files):
    documents = [path for path in files if path.suffix == ".md"]
    assert documents, "there is no document"
    for path in documents:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_requirements_are_pinned(root):
    pins = (root / "requirements/constraints.txt").read_text()
    pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==\S+$", pins, re.M)}
    assert pinned
    lists = [p for p in (root / "requirements").glob("*.txt") if p.name != "constraints.txt"]
    assert lists
    for path in lists:
        wanted = re.findall(r"^([\w.-]+)", path.read_text(), re.M)
        names = {name.lower() for name in wanted if not name.startswith("-")}
        assert names and names <= pinned, f"{path}: {names - pinned}"
