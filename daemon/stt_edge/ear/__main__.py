"""``python -m stt_edge.ear``: started by main, of no use by hand."""

import sys

from stt_edge.ear.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
