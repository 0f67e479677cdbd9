"""``python -m stt_edge.providers.worker``: started by main, of no use by hand."""

import sys

from stt_edge.providers.worker.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
