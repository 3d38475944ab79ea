"""What the children of ``python -m casyncio --as-uvloop`` find when they import uvloop.

This folder stands on their ``PYTHONPATH``; the module gives its place to the real alias.
"""

import sys

from casyncio import _uvloop

if __name__ == "uvloop":
    del sys.modules[__name__]
    _uvloop.put_in_place()
