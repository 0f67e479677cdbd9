"""Protections of audio that waits."""

from __future__ import annotations

from scripts.lib.sabotage.edit import Edit, Sabotage

POWER = ("utterance/test_power_cut.py", "utterance/test_spool_model.py")
THREAD = ("service/test_spool_thread.py",)
RULES = ("utterance/test_spool_rules.py",)

TABLE = (
    Sabotage(
        "a copy is synced before its name",
        (
            Edit(
                "utterance.copies",
                "                self._disk.fsync(handle)\n            finally:\n"
                "                self._disk.close(handle)\n            self._disk.rename",
                "            finally:\n"
                "                self._disk.close(handle)\n            self._disk.rename",
            ),
        ),
        POWER,
    ),
    Sabotage(
        "growth is synced",
        (
            Edit(
                "utterance.copies",
                "                raise\n            self._disk.fsync(handle)\n",
                "                raise\n",
            ),
        ),
        POWER,
    ),
    Sabotage(
        "the directory is synced",
        (Edit("utterance.copies", "            self._disk.fsync_dir(self.directory)\n", ""),),
        POWER,
    ),
    Sabotage(
        "a hot file is deleted only when it is complete",
        (Edit("utterance.copies", "        if closed:\n", "        if True:\n"),),
        POWER,
    ),
    Sabotage(
        "a failed sync is never trusted",
        (
            Edit(
                "utterance.copies",
                "        segment.copied_bytes = None  # until it is known to be on the medium\n",
                "",
            ),
        ),
        (*POWER, *THREAD),
    ),
    Sabotage(
        "a copy that is no beginning of its original is not gone on with",
        (
            Edit(
                "utterance.recovery",
                "                if data != self._disk.read(original.path, offset, length):\n",
                "                if False:\n",
            ),
        ),
        ("utterance/test_cold_recovery.py",),
    ),
    Sabotage(
        "a deleted utterance takes its copy along",
        (
            Edit(
                "utterance.log",
                "            self._copies.condemn(utterance.segments)\n",
                "",
            ),
        ),
        (*THREAD, "utterance/test_spool_model.py"),
    ),
    Sabotage(
        "a reader finds a file that has moved",
        (
            Edit(
                "utterance.log",
                "                if isinstance(error, FileNotFoundError) and paths != [",
                "                if False and paths != [",
            ),
        ),
        ("utterance/test_cold_recovery.py",),
    ),
    Sabotage(
        "unfinished speech goes to the disk after 5 s",
        (
            Edit(
                "utterance.spool",
                "            or ages.since_end_s(holding, now_ns) >= UNFINISHED_S\n",
                "",
            ),
        ),
        RULES,
    ),
    Sabotage(
        "unacknowledged speech goes to the disk after 20 s",
        (
            Edit(
                "utterance.spool",
                "            or ages.unacknowledged_s(holding, now_ns) >= UNACKNOWLEDGED_S\n",
                "",
            ),
        ),
        RULES,
    ),
    Sabotage(
        "an outage sends speech to the disk at once",
        (
            Edit(
                "service.spool",
                "self._thread.set_offline(offline=self._pipeline.dispatcher.offline)",
                "self._thread.set_offline(offline=False)",
            ),
        ),
        ("service/test_spool.py",),
    ),
    Sabotage(
        "everything goes to the disk at the end",
        (
            Edit(
                "service.spool_thread",
                "        at_once = self._offline or self._leaving\n",
                "        at_once = self._offline\n",
            ),
        ),
        THREAD,
    ),
    Sabotage(
        "age counts by clocks that can be believed",
        (
            Edit(
                "utterance.spool",
                "            and not holding.start.clock_unsynced\n",
                "",
            ),
        ),
        RULES,
    ),
    Sabotage(
        "speech in progress is never given up",
        (
            Edit(
                "service.spool",
                "        if not holding.ended or not self._pipeline.dispatcher.drop(holding.id):",
                "        if False:",
            ),
        ),
        ("service/test_spool.py",),
    ),
    Sabotage(
        "the oldest is given up first",
        (
            Edit(
                "utterance.spool",
                "    return sorted(ended, key=lambda holding: not holding.done)",
                "    return ended[::-1]",
            ),
        ),
        RULES,
    ),
    Sabotage(
        "backlog is sent in the store's order",
        (
            Edit(
                "service.pipeline",
                "        self.log.arrange(await self.store.call(Store.sequence))\n",
                "",
            ),
            Edit("service.pipeline", "            seq=row.seq,\n", ""),
        ),
        ("service/test_pipeline.py", "faults/test_clocks.py"),
    ),
    Sabotage(
        "a record is superseded by the newest only",
        (
            Edit(
                "store.store",
                "coalesce((SELECT seq FROM records WHERE id = ?), 0)",
                "coalesce((SELECT seq - 1 FROM records WHERE id = ?), 0)",
            ),
        ),
        ("cli/test_spool.py", "store/test_second_tries.py"),
    ),
)
