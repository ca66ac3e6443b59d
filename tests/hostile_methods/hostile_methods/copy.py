"""Writes the file that its argument names to stdout."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.stdout.buffer.write(Path(sys.argv[1]).read_bytes())
