"""The tools that judge the code are right about code whose answer is known."""

import cformat
import doclinks
import glibc


def test_a_comment_behind_code_goes_to_its_column_and_stays_there():
    for line, shown in [
        ("    int fd; /* not owned */", "    int fd;                            /* not owned */"),
        ("    int fd; /* " + "x" * 38 + " */", "    int fd;" + " " * 24 + "/* " + "x" * 38 + " */"),
        ("    /* a comment alone */", "    /* a comment alone */"),
        ("#endif /* CA_X_H */", "#endif /* CA_X_H */"),
    ]:
        assert cformat.show(line) == shown
        assert cformat.show(cformat.hide(shown)) == shown


def test_a_row_of_a_table_is_protected_from_its_neighbours():
    row = '    {"cancel", handle_py_cancel, METH_NOARGS, handle_cancel_doc},'
    assert cformat.hide(row) == row + " //"
    assert cformat.show(cformat.hide(row)) == row
    assert cformat.hide("    call(a, b);") == "    call(a, b);"


def test_a_macro_that_stands_for_a_row_stands_under_the_row_above():
    lines = ["    {Py_mod_exec, module_exec}, //", "        CA_SLOT_GIL //", "    {0, NULL}, //"]
    assert list(cformat.align(lines))[1] == "    CA_SLOT_GIL //"


def test_symbol_versions_are_read_as_numbers_and_not_as_text():
    assert glibc.version("2.9") < glibc.version("2.28") < glibc.version("2.28.1")


def test_a_program_shows_which_glibc_it_needs():
    assert max(glibc.needs("/bin/sh").values()) >= (2, 2)


def test_a_symbol_that_is_too_new_is_named(capsys):
    assert glibc.main(["--max", "2.0", "/bin/sh"]) == 1
    assert "too new: " in capsys.readouterr().out


def test_broken_links_between_pages_are_found(tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1> <a href="sub/b.html#there">good</a> <a href="#top">good</a>'
        '<a href="sub/b.html#gone">bad</a> <a href="none.html">bad</a> <img src="x%20y.svg">'
        '<a href="https://example.org/">elsewhere</a> <a href="mailto:a@b">mail</a>'
    )
    (tmp_path / "x y.svg").write_text("")
    (tmp_path / "sub/b.html").write_text('<p id="there"> <a href="../a.html#top">good</a>')
    assert doclinks.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.html: broken link: sub/b.html#gone",
        "a.html: broken link: none.html",
    ]


def test_a_folder_without_pages_is_no_manual(tmp_path):
    assert doclinks.main([str(tmp_path)]) == 2
