"""``python -m stt_edge`` is the same program as the ``stt-edge`` command."""

import sys

from stt_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
