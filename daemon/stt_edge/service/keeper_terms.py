"""What the keeper of the ear talks about: states, events, effects. Data only."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from stt_edge.ear.wire import StopMode
from stt_edge.errors import FaultKind
from stt_edge.frozen import frozen


class State(StrEnum):
    """What the keeper is about."""

    STARTING = "starting"
    """The ear runs and has not heard its first block."""
    HEARING = "hearing"
    ABSENT = "absent"
    """There is no such device; no ear runs."""
    BUSY = "busy"
    """Another program has the device; no ear runs."""
    FAULTED = "faulted"
    """The source cannot be used, or the ear keeps failing; no ear runs."""
    RESTARTING = "restarting"
    """The ear is being ended and will be started again."""
    MUTING = "muting"
    """The ear is being ended because of mute; the device may still be open."""
    MUTED = "muted"
    STOPPING = "stopping"
    """The ear is being ended for good."""
    FINISHED = "finished"


WAITING: Final = frozenset((State.ABSENT, State.BUSY, State.FAULTED))
"""Nothing is heard, against everybody's wish, until the source is tried again."""


class TimerName(StrEnum):
    """The timers of the keeper; at most one of each runs."""

    FIRST_BLOCK = "first-block"
    ALIVE = "alive"
    RETRY = "retry"
    OBEY = "obey"
    DIE = "die"
    STABLE = "stable"


class Notice(StrEnum):
    """What is told to people, each once an episode."""

    LISTENING = "listening"
    LOST = "lost"
    """Nothing can be heard any more, or from the start."""
    STILL_LOST = "still-lost"
    """The cause is another one now, or is known now."""
    RETURNED = "returned"
    SILENT = "silent"
    SOUND = "sound"
    """The exact digital silence is over."""
    MUTED = "muted"
    UNMUTED = "unmuted"
    STUCK = "stuck"
    """An ear cannot be killed."""
    ENDED = "ended"
    """The file or command has come to its end."""


class IllegalTransitionError(Exception):
    """An event came in a state that has no rule for it: a mistake of ours."""


# --- events -------------------------------------------------------------------------------------


@frozen
class OpenedReported:
    """The source is open and its first block has come."""

    description: str


@frozen
class HealthSeen:
    """The ear reported its health; only a growing number of blocks is a sign of hearing."""

    blocks: int
    silent_s: float


@frozen
class AudioSeen:
    """Speech has come, which is a sign of hearing too: under load there may be no other."""


@frozen
class SpeechChanged:
    """An utterance opened or ended; one that goes on in the next has not ended."""

    speaking: bool


@frozen
class FaultReported:
    """The ear said why it cannot go on; it ends now."""

    kind: FaultKind
    message: str
    remedy: str = ""


@frozen
class FinishedReported:
    """The ear said that it has nothing more to say; it ends now."""


@frozen
class EarExited:
    """The ear is gone, all it said has been read, and the device is closed."""

    how: str
    """``exit code 0``, ``signal 11`` …"""


@frozen
class DeviceChanged:
    """A sound device came, went or changed its permissions."""


@frozen
class MuteRequested:
    """Somebody wants privacy."""


@frozen
class UnmuteRequested:
    """Somebody wants to be heard again."""


@frozen
class SettingsChanged:
    """The source is another one now, or is to be opened differently."""

    pace: Pace


@frozen
class StopRequested:
    """The daemon ends."""


@frozen
class TimedOut:
    """A timer ran out."""

    timer: TimerName


Event = (
    OpenedReported
    | HealthSeen
    | AudioSeen
    | SpeechChanged
    | FaultReported
    | FinishedReported
    | EarExited
    | DeviceChanged
    | MuteRequested
    | UnmuteRequested
    | SettingsChanged
    | StopRequested
    | TimedOut
)

# --- effects ------------------------------------------------------------------------------------


@frozen
class SpawnEar:
    """Start an ear. One that cannot even be started is reported as EarExited."""


@frozen
class SendStop:
    """Tell the ear to hand over what it has, close the device and end."""

    mode: StopMode


@frozen
class KillEar:
    """End the ear by SIGKILL; what it has written is still read."""


@frozen
class LoseEar:
    """Give up an ear that even SIGKILL does not end; its open utterance ends as lost."""


@frozen
class StartTimer:
    """Start (or start anew) a timer."""

    timer: TimerName
    seconds: float


@frozen
class CancelTimer:
    """Stop a timer, whether it runs or not."""

    timer: TimerName


@frozen
class Announce:
    """Tell people."""

    notice: Notice
    message: str
    remedy: str = ""


Effect = SpawnEar | SendStop | KillEar | LoseEar | StartTimer | CancelTimer | Announce

# --- the machine --------------------------------------------------------------------------------


@frozen
class Pace:
    """What the configuration has to say about waiting."""

    source: str = "the microphone"
    """The device, file or command as a person would name it before it is open."""
    first_block_s: float = 30.0
    absent_s: float = 30.0
    """Until an absent device is looked for again without a sign from /dev/snd."""


@frozen
class Trouble:
    """Why nothing is heard."""

    kind: FaultKind
    message: str
    remedy: str = ""

    @property
    def state(self) -> State:
        """The state to wait in until it is tried again."""
        return {FaultKind.ABSENT: State.ABSENT, FaultKind.BUSY: State.BUSY}.get(
            self.kind, State.FAULTED
        )


@frozen
class Keeper:
    """Everything that decides what the keeper does next."""

    pace: Pace = Pace()
    state: State = State.STARTING
    device: str | None = None
    """The source as the ear described it when it was last open."""
    trouble: Trouble | None = None
    """Kept until something is heard again, also while that is being tried."""
    lost: bool = False
    """People have been told of the trouble, and must be told of its end."""
    failures: int = 0
    """Ears in a row that crashed, went deaf or heard nothing."""
    retries: int = 0
    blocks: int = 0
    silent: bool = False
    silent_s: float = 0.0
    speaking: bool = False
    restart_wanted: bool = False
    devices_changed: bool = False
    """While the ear started: what it found may no longer be true."""

    @property
    def shown(self) -> State:
        """The state to show to people: trouble does not vanish while it is being tried again."""
        if self.state is State.STARTING and self.trouble is not None:
            return self.trouble.state
        return self.state
