"""The whole program with one more provider: ``python -m tests.fakes.daemon run -c FILE``.

A configuration may say ``providers: [{name: recording, directory: …}]``.
"""

from __future__ import annotations

import sys

from stt_edge.cli.main import main
from stt_edge.providers import registry

if __name__ == "__main__":
    registry.register("recording", "tests.fakes.recording")
    sys.exit(main(sys.argv[1:]))
