"""What uvloop's tests, and the processes they start, get as uvloop: casyncio's alias.

What belongs to the tests (``uvloop._testbase``) is found in uvloop's unpacked sources, whose folder
the environment variable UVLOOP_SOURCE names.
"""

import os
import sys

from casyncio import _uvloop

if __name__ == "uvloop":
    del sys.modules["uvloop"]
    _uvloop.put_in_place()
    sys.modules["uvloop"].__path__ = [os.path.join(os.environ["UVLOOP_SOURCE"], "uvloop")]
