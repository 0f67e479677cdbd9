"""F2: the spool against a model of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.tests_run import hold

NAME = "F2"
TITLE = "any order of appends, copies, disk errors, kills and power cuts, against a model"

EXAMPLES: Final = 2000
QUICK_EXAMPLES: Final = 200


def run(work: Path, quick: bool) -> str:
    """Try that many histories of thirty steps."""
    examples = QUICK_EXAMPLES if quick else EXAMPLES
    tried = hold(
        "tests/utterance/test_spool_model.py", variables={"STT_EDGE_EXAMPLES": str(examples)}
    )
    return f"{examples} histories, {tried}"
