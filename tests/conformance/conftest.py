"""Lets the tests here import the scripts beside them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
