"""Protections of the daemon as a whole."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_WATCHDOG: Final = "service/test_watchdog.py"
_DAEMON: Final = "service/test_daemon.py"

TABLE: Final = (
    Sabotage(
        "a stalled loop starves the watchdog",
        (Edit("service.watchdog", "if self.lag_s > MAX_LAG_S:", "if False:"),),
        (_WATCHDOG,),
    ),
    Sabotage(
        "a dead task starves the watchdog",
        (Edit("service.watchdog", "        if self.dead_tasks:\n", "        if False:\n"),),
        (_WATCHDOG,),
    ),
    Sabotage(
        "a late keeper starves the watchdog",
        (Edit("service.watchdog", "if self.keeper_overdue_s > MAX_OVERDUE_S:", "if False:"),),
        (_WATCHDOG,),
    ),
    Sabotage(
        "a task that dies is known",
        (Edit("service.supervisor", "            self.dead.append(name)\n", ""),),
        ("service/test_supervisor.py",),
    ),
    Sabotage(
        "mute outlives a restart",
        (Edit("service.daemon", "muted=self._mute_switch.is_on()", "muted=False"),),
        (_DAEMON,),
    ),
    Sabotage(
        "a muted microphone is not opened while the daemon loads",
        (Edit("cli.run", " and not MuteSwitch(paths.state).is_on()", ""),),
        ("cli/test_run.py",),
    ),
    Sabotage(
        "one that was muted meanwhile is closed",
        (Edit("service.ear_keeper", "            self._starter.drop()\n", "            pass\n"),),
        (_DAEMON,),
    ),
    Sabotage(
        "an ear is ready when the device comes back",
        (
            Edit(
                "service.ear_keeper",
                "            self._starter.prepare(self._command)\n",
                "            pass\n",
            ),
        ),
        ("service/test_ear_keeper.py",),
    ),
    Sabotage(
        "an ear that is kept ready opens nothing",
        (
            Edit(
                "ear.main",
                "        settings = EarSettings.from_json(commands.wait_for_begin().settings)\n",
                "        settings = EarSettings()\n",
            ),
        ),
        ("service/test_ear_starter.py",),
    ),
    Sabotage(
        "a device that may not be used yet is not tried",
        (
            Edit(
                "service.device_watch",
                "            os.access(self._directory / node, os.R_OK) for node in nodes\n",
                "            True for node in nodes\n",
            ),
        ),
        ("service/test_device_watch.py",),
    ),
    Sabotage(
        "mute is on the disk before it is acknowledged",
        (Edit("service.mute_switch", "            sync_directory(self._path.parent)\n", ""),),
        ("service/test_mute.py",),
    ),
    Sabotage(
        "a reload that fails leaves the configuration as it was",
        (
            Edit(
                "service.daemon",
                "        prepared = self._providers.prepare(new)\n",
                "        self._config = new\n        prepared = self._providers.prepare(new)\n",
            ),
        ),
        (_DAEMON,),
    ),
    Sabotage(
        "a reload that fails kills no task",
        (
            Edit(
                "service.daemon",
                "        with contextlib.suppress(SttEdgeError):  # logged where it was found\n",
                "        if True:\n",
            ),
        ),
        ("faults/test_matrix.py::test_a_fault_is_stood[F18]",),
    ),
    Sabotage(
        "providers are kept when one cannot be built",
        (
            Edit(
                "service.provider_set",
                "        wanted: list[tuple[ProviderEntry, Provider]] = []\n",
                "        wanted = self._built\n        wanted.clear()\n",
            ),
        ),
        ("service/test_provider_set.py",),
    ),
    Sabotage(
        "what is said since a crash is a gap",
        (
            Edit(
                "service.daemon",
                "                    self._losses.heard(cut_ns)\n",
                "                    pass\n",
            ),
        ),
        ("faults/test_crash_gap.py",),
    ),
    Sabotage(
        "an earlier run's utterances are taken up",
        (
            Edit(
                "service.pipeline",
                "sum([await self._take_up(there[id_]) for id_ in self.log.ids() if id_ in there])",
                "len(there)",
            ),
        ),
        ("service/test_pipeline.py",),
    ),
    Sabotage(
        "what was finished is not done again",
        (
            Edit(
                "service.pipeline",
                "if row is not None and row.state in FINISHED:",
                "if False:",
            ),
        ),
        ("service/test_pipeline.py",),
    ),
    Sabotage(
        "parts whose audio has gone become a record",
        (Edit("service.pipeline", "        if not parts:\n", "        if True:\n"),),
        ("service/test_pipeline.py",),
    ),
    Sabotage(
        "ids increase when the clock steps back",
        (
            Edit(
                "ids",
                "max(fresh, _last + 1 + int.from_bytes(os.urandom(4)) % _COUNTER_STEP)",
                "fresh",
            ),
        ),
        ("test_ids_vocabulary.py",),
    ),
    Sabotage(
        "durations by the monotonic clock",
        (
            Edit(
                "session.record",
                "(clock.monotonic_ns() - spoken_ns)",
                "(round(clock.now().timestamp() * 1e9) - spoken_ns)",
            ),
        ),
        ("faults/test_clocks.py",),
    ),
    Sabotage(
        "requests of a bounded size",
        (
            Edit(
                "service.control",
                "self._accept, self._path, limit=MAX_REQUEST_BYTES",
                "self._accept, self._path, limit=1 << 30",
            ),
        ),
        ("service/test_control.py",),
    ),
    Sabotage(
        "a socket for owner and group only",
        (Edit("service.control", "            self._path.chmod(0o660)\n", ""),),
        ("service/test_control.py",),
    ),
)
