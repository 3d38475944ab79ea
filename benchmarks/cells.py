"""The cells of ``python -m casyncio bench``, and those of the programs in this folder.

    python -P benchmarks/cells.py latency MODULE:FACTORY LOAD TRANSPORT SECONDS BUDGET
    python -P benchmarks/cells.py has_budget MODULE:FACTORY
    python -P benchmarks/cells.py callgrind MODULE:FACTORY OPERATION N
    python -P benchmarks/cells.py moods MODULE:FACTORY KIND PLACE SEED

The repository is on the path only while this package is imported, so that the loop measured is
the installed one and not a source folder of the same name beside us.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
from benchmarks import callgrind, latency, moods  # noqa: E402

sys.path.remove(ROOT)
from _bench import cell  # noqa: E402

cell.ACTIONS.update(
    latency=latency.cell, has_budget=latency.has_budget, callgrind=callgrind.cell, moods=moods.serve
)

if __name__ == "__main__":
    cell.main(sys.argv[1:])
