"""Protections of the ear, and of main against it."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_SANDBOX: Final = "ear/test_sandbox.py"
_INTAKE: Final = "service/test_intake.py"

TABLE: Final = (
    Sabotage(
        "the ear has no network",
        (
            Edit(
                "ear.sandbox",
                "    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))\n",
                "    assert program\n",
            ),
        ),
        (_SANDBOX,),
    ),
    Sabotage(
        "nor one by io_uring",
        (
            Edit(
                "ear.sandbox",
                "        (_JUMP_EQUAL, 0, 1, architecture.io_uring_setup),\n        refuse,\n",
                "",
            ),
        ),
        (_SANDBOX,),
    ),
    Sabotage(
        "the ear confines itself",
        (Edit("ear.main", "        forbid_network()\n", "        pass\n"),),
        ("ear/test_main.py",),
    ),
    Sabotage(
        "the ear dies with main",
        (Edit("ear.sandbox", "    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)\n", ""),),
        (_SANDBOX,),
    ),
    Sabotage(
        "an ear whose main has died already ends",
        (Edit("ear.main", "    if commands.is_closed:", "    if False:"),),
        ("ear/test_main.py",),
    ),
    Sabotage(
        "Ctrl-C is not for the ear",
        (Edit("ear.main", "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n", ""),),
        ("ear/test_main.py",),
    ),
    Sabotage(
        "the ear cannot feed the watchdog",
        (Edit("service.ear_process", " if name not in _NOT_FOR_THE_EAR", ""),),
        ("service/test_ear_process.py",),
    ),
    Sabotage(
        "a second stage that is too slow is given up",
        (Edit("ear.vad", "fastest_ns > _MOST_NS", "False"),),
        ("ear/test_vad.py", "ear/test_detector.py"),
    ),
    Sabotage(
        "what an overrun loses is found",
        (Edit("ear.timeline", "        return [Missing(samples)]\n", "        return []\n"),),
        ("ear/test_timeline.py",),
    ),
    Sabotage(
        "what the ring overwrites is counted",
        (
            Edit(
                "ear.outbox",
                "        self.overwritten_samples += lost_until - start\n"
                "        return encode(Gap(start, lost_until - start)), lost_until\n",
                "        return b'', lost_until\n",
            ),
        ),
        ("ear/test_outbox.py",),
    ),
    Sabotage(
        "the ear does not wait for main",
        (
            Edit(
                "ear.process",
                "            self._outbox.pump()\n            self._report(ended_ns)\n",
                "            self._outbox.flush()\n            self._report(ended_ns)\n",
            ),
        ),
        ("ear/test_process.py",),
    ),
    Sabotage(
        "gaps are counted as lost",
        (
            Edit(
                "service.intake",
                "lost = max(0, end - utterance.head.start - utterance.written)",
                "lost = 0",
            ),
        ),
        (_INTAKE,),
    ),
    Sabotage(
        "gaps between utterances are carried on",
        (Edit("service.intake", "            lost_before=self._losses.take(),\n", ""),),
        (_INTAKE,),
    ),
    Sabotage(
        "the time without an ear is a gap",
        (
            Edit(
                "service.intake",
                "self._samples += max(0, mono_ns - self._heard_until_ns) // NS_PER_SAMPLE",
                "pass",
            ),
        ),
        (_INTAKE,),
    ),
    Sabotage(
        "an ear that was not listened to is not deaf",
        (Edit("service.ear_keeper", " or (unread and not timer.is_grace)", ""),),
        ("service/test_ear_keeper.py",),
    ),
    Sabotage(
        "an ear that is lost ends its utterance",
        (
            Edit(
                "service.intake",
                'received."""\n        self._over = True\n        self._cut()\n',
                'received."""\n        self._over = True\n',
            ),
        ),
        (_INTAKE,),
    ),
    Sabotage(
        "a log that cannot be written does not stop the reading",
        (
            Edit(
                "service.intake",
                "            self._failing = True\n            return False\n",
                "            raise\n",
            ),
        ),
        (_INTAKE, "service/test_ear_reader.py"),
    ),
    Sabotage(
        "a clock that is not synchronised is said to be so",
        (
            Edit(
                "service.intake",
                "clock_unsynced=not self._clock.synchronized()",
                "clock_unsynced=False",
            ),
        ),
        (_INTAKE,),
    ),
)
