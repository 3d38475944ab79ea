"""``python -m casyncio bench``: casyncio against every other event loop that is installed.

The driver (``cli``, ``drive``, ``report``, ``terminal``, ``plot``) starts ``cell.py`` for each
measurement.  That file loads this package under the name ``_bench``, without casyncio round it,
so that a process which measures another loop never imports ours; imports in here are relative.
"""
