"""Whether the service is muted, running or not."""

from __future__ import annotations

from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.files import is_there
from stt_edge.service.mute_switch import MuteSwitch


def is_muted(case: Case) -> bool:
    """Return it. Raises OSError when it cannot be seen."""
    if case.status is not None:
        return case.status.muted
    return is_there(MuteSwitch(case.paths.state).path)
