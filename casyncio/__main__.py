"""``python -m casyncio``: see casyncio/_cli.py."""

import sys

from casyncio._cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
