"""Protections between the log and the providers."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_STANDING: Final = "session/test_standing.py"
_PROGRESS: Final = "session/test_progress.py"
_DISPATCHER: Final = "session/test_dispatcher.py"
_HALF_OPEN: Final = "providers/test_half_open.py"

TABLE: Final = (
    Sabotage(
        "jitter of the back-off",
        (
            Edit(
                "session.standing",
                "return rng.uniform(0, min(CAP_S, 2.0 ** min(self.failures, _MOST_DOUBLINGS)))",
                "return min(CAP_S, 2.0 ** min(self.failures, _MOST_DOUBLINGS))",
            ),
        ),
        ("session/test_herd.py",),
    ),
    Sabotage(
        "spread after the loss of a session",
        (
            Edit(
                "session.standing",
                "        if established and not self.failures:\n"
                "            return rng.uniform(0, FIRST_AFTER_LOSS_S)\n",
                "",
            ),
        ),
        ("session/test_herd.py",),
    ),
    Sabotage(
        "the bound of the back-off",
        (Edit("session.standing", "min(CAP_S, 2.0 ** min(", "max(0.0, 2.0 ** min("),),
        (_STANDING,),
    ),
    Sabotage(
        "failures are forgotten by proof only",
        (
            Edit(
                "session.dispatcher",
                "if established and link.streamed_s >= PROOF_STREAMING_S:",
                "if established:",
            ),
        ),
        ("session/test_long_outage.py",),
    ),
    Sabotage(
        "a refused key blocks",
        (
            Edit(
                "session.standing",
                "FailureKind.DENIED: Verdict.BLOCK",
                "FailureKind.DENIED: Verdict.RETRY",
            ),
        ),
        (_STANDING,),
    ),
    Sabotage(
        "Retry-After is respected",
        (Edit("session.standing", "max(failure.retry_after_s or 0.0, rng", "max(0.0, rng"),),
        (_STANDING,),
    ),
    Sabotage(
        "a wait is cut short once in five seconds",
        (
            Edit(
                "session.standing",
                " or now_s - self.woken_s < WAKE_EVERY_S",
                "",
            ),
        ),
        (_STANDING,),
    ),
    Sabotage(
        "results are recognised by the provider's id",
        (
            Edit(
                "session.progress",
                "            if final.item_id in self._items:\n                return None\n",
                "",
            ),
        ),
        (_PROGRESS,),
    ),
    Sabotage(
        "words before what is acknowledged are dropped",
        (
            Edit(
                "session.progress",
                "for word in words if (word.start + word.end) // 2 >= self.acked)",
                "for word in words)",
            ),
            Edit(
                "session.progress",
                " or (timed and (start + end) // 2 < self.acked)",
                "",
            ),
        ),
        (_PROGRESS,),
    ),
    Sabotage(
        "only what was sent is acknowledged",
        (Edit("session.progress", "min(part.end, self._position))", "part.end)"),),
        (_PROGRESS,),
    ),
    Sabotage(
        "sending goes on at what was acknowledged",
        (
            Edit(
                "session.progress",
                "        self._position = self.acked\n"
                "        self._offsets, self._samples = [0], [self.acked]\n",
                "        self._position = self.head.start\n"
                "        self._offsets, self._samples = [0], [self.head.start]\n",
            ),
        ),
        (_PROGRESS,),
    ),
    Sabotage(
        "without times nothing is committed before the end",
        (
            Edit(
                "session.progress",
                "            self._pending.append(part)\n            return None\n",
                "            return self._commit(part)\n",
            ),
        ),
        (_PROGRESS,),
    ),
    Sabotage(
        "an end that may be a drop is not believed",
        (
            Edit(
                "session.dispatcher",
                "if not confirmed and progress.resend_rest():",
                "if False:",
            ),
        ),
        (_DISPATCHER,),
    ),
    Sabotage(
        "a silent end is waited for only so long",
        (
            Edit("session.connection", "(SendFinalize(), *wait, drain)", "(SendFinalize(), *wait)"),
            Edit(
                "session.connection",
                "        return parted, (*goodbye, drain)\n    answer_s",
                "        return parted, goodbye\n    answer_s",
            ),
        ),
        (_DISPATCHER,),
    ),
    Sabotage(
        "backlog gives way to live speech",
        (
            Edit(
                "session.placement",
                "                link.release()\n                return\n",
                "                return\n",
            ),
        ),
        (_DISPATCHER,),
    ),
    Sabotage(
        "a provider that takes nothing is given up",
        (
            Edit(
                "session.link",
                "patience_s = None if self.provider.capabilities.local else _STALLED_S",
                "patience_s = None",
            ),
            Edit(
                "providers.transports.sockets",
                "socket.TCP_USER_TIMEOUT, _LOST_AFTER_MS)",
                "socket.TCP_USER_TIMEOUT, 0)",
            ),
        ),
        (_HALF_OPEN,),
    ),
    Sabotage(
        "pings find a peer that is gone",
        (
            Edit(
                "providers.transports.websocket",
                "ping_interval=_PING_S if self._pings else None",
                "ping_interval=None",
            ),
        ),
        (_HALF_OPEN,),
    ),
    Sabotage(
        "the kernel notices that nothing arrives",
        (
            Edit(
                "providers.transports.sockets",
                "socket.TCP_USER_TIMEOUT, _LOST_AFTER_MS)",
                "socket.TCP_USER_TIMEOUT, 0)",
            ),
        ),
        (_HALF_OPEN,),
    ),
    Sabotage(
        "messages of a bounded size",
        (
            Edit(
                "providers.transports.websocket",
                "max_size=_LARGEST_MESSAGE_BYTES",
                "max_size=None",
            ),
        ),
        ("providers/test_websocket_transport.py",),
    ),
    Sabotage(
        "certificates are verified",
        (
            Edit(
                "providers.transports.tls",
                "    context = ssl.create_default_context()\n",
                "    context = ssl._create_unverified_context()\n",
            ),
        ),
        ("providers/test_tls.py", "providers/test_websocket_transport.py"),
    ),
)
