"""``python -m benchmarks`` is ``python benchmarks/run.py``."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.run import main

if __name__ == "__main__":
    main()
