"""The fault matrix in small: a few rounds of every fault that is no test by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from scripts.lib.fault_kit.fault import Fault, chosen, discovered

from tests.sinks.test_rotation import needs_logrotate

DONE_HERE: Final = ("F3", "F4", "F5", "F17", "F18", "F19", "F20")
"""The others run tests that are run anyway."""


NEEDS: Final = {"F19": [needs_logrotate]}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.NAME, marks=NEEDS.get(fault.NAME, []))
        for fault in chosen(discovered(), DONE_HERE)
    ],
)
def test_a_fault_is_stood(fault: Fault, tmp_path: Path) -> None:
    assert fault.run(tmp_path, quick=True)


def test_every_fault_says_what_it_is() -> None:
    faults = discovered()
    assert len({fault.NAME for fault in faults}) == len(faults)
    for fault in faults:
        assert fault.TITLE
        assert "|" not in fault.TITLE
