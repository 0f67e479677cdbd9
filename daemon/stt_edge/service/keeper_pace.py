"""How long the keeper of the ear waits for what."""

from __future__ import annotations

from typing import Final

from stt_edge.service.keeper_terms import Keeper, State

ALIVE_S: Final = 3.0
"""Without a sign of hearing for this long an ear is deaf. It gives one a second, so that no block
has come for 2 s at least."""
OBEY_S: Final = 2.0
"""An ear that was told to stop and has not by then is killed."""
DIE_S: Final = 2.0
"""A killed ear that is still there by then cannot be killed: it hangs in the kernel."""
BUSY_S: Final = 5.0
FAULTED_S: Final = 30.0
SETTLE_S: Final = 0.3
"""Devices come in company: a hub with two cards, a card's rights after its nodes. Wait for calm."""
STABLE_S: Final = 10.0
"""An ear that has heard for this long has left its failures behind."""
SILENT_S: Final = 60.0
FAILURES_TOLD: Final = 8
"""So many failures in a row are told one by one."""

_BACKOFF_S: Final = (0.0, 0.5, 1.0, 2.0)
_PATIENCE: Final = 30
"""After so many failures in a row the ear is tried at a slower pace."""
_TIRED_S: Final = 10.0
_EAGER_RETRIES: Final = 150
_FIRST_RETRY_S: Final = 2.0
"""A device that has just gone may come back at once (a reset of the bus, a server restarted)."""


def backoff_s(failures: int) -> float:
    """Return how long to wait, in seconds, after so many failures in a row."""
    if failures > _PATIENCE:
        return _TIRED_S
    return _BACKOFF_S[min(max(failures - 1, 0), len(_BACKOFF_S) - 1)]


def retry_s(keeper: Keeper) -> float:
    """Return how long to wait, in seconds, before a source that cannot be used is tried again."""
    if keeper.devices_changed:
        return SETTLE_S
    if keeper.trouble is None or keeper.trouble.state is not State.ABSENT:
        return BUSY_S if keeper.trouble and keeper.trouble.state is State.BUSY else FAULTED_S
    if keeper.retries == 1:
        return min(_FIRST_RETRY_S, keeper.pace.absent_s)
    # Each look costs a process: a sound server that stays away is asked less often.
    eager = keeper.retries <= _EAGER_RETRIES
    return keeper.pace.absent_s if eager else max(keeper.pace.absent_s, _TIRED_S)
