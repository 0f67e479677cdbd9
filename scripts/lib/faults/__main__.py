"""``python -m scripts.lib.faults``; every other module here is one fault."""

from __future__ import annotations

import sys

from scripts.lib.fault_kit.command import main

if __name__ == "__main__":
    sys.exit(main())
