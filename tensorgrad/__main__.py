"""`python -m tensorgrad` is the command `tensorgrad`."""

import sys

from tensorgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
