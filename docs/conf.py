"""How the manual is built: ``make docs``."""

import re

import casyncio

project = "casyncio"
author = "The casyncio authors"
version = release = casyncio.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"casyncio {version}"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # signatures stand in the stubs
nitpick_ignore_regex = [(r"py:.*", r".*")]  # what asyncio documents is not repeated here


def escape_stars(app, what, name, kind, options, lines):
    """The C docstrings are plain text, in which ``*args`` opens no emphasis."""
    lines[:] = [re.sub(r"(?<![\\*])\*(?=args|context)", r"\\*", line) for line in lines]


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_stars)
