"""Protections of audio that waits on the disk."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_POWER: Final = "utterance/test_power_cut.py"
_RULES: Final = "utterance/test_spool_rules.py"
_THREAD: Final = "service/test_spool_thread.py"
_SPOOL: Final = "service/test_spool.py"
_MODEL: Final = "utterance/test_spool_model.py"

TABLE: Final = (
    Sabotage(
        "a copy is on the medium before it counts",
        (
            Edit(
                "utterance.copies",
                "                self._disk.fsync(handle)\n            finally:\n",
                "            finally:\n",
            ),
        ),
        (_POWER,),
    ),
    Sabotage(
        "so is what it grows by",
        (
            Edit(
                "utterance.copies",
                "            self._disk.fsync(handle)\n        finally:\n",
                "        finally:\n",
            ),
        ),
        (_POWER,),
    ),
    Sabotage(
        "the name of a copy is on the medium",
        (
            Edit(
                "utterance.copies",
                "            self._disk.fsync_dir(self.directory)\n        except",
                "        except",
            ),
        ),
        (_POWER,),
    ),
    Sabotage(
        "a copy is whole before it has its name",
        (
            Edit(
                "utterance.copies",
                "return path.with_name(path.name + TEMPORARY_SUFFIX)",
                "return path",
            ),
        ),
        (_POWER, _MODEL),
    ),
    Sabotage(
        "what could not be synced is never trusted again",
        (
            Edit(
                "utterance.copies",
                "segment.copied_bytes = None  # until it is known to be on the medium",
                "pass",
            ),
        ),
        (_THREAD,),
    ),
    Sabotage(
        "a hot file that still grows is kept",
        (
            Edit(
                "utterance.copies",
                "        if closed:\n            with self._lock:\n",
                "        if True:\n            with self._lock:\n",
            ),
        ),
        (_POWER, _MODEL),
    ),
    Sabotage(
        "in an outage speech goes to the disk at once",
        (
            Edit(
                "service.spool_thread",
                "at_once = self._offline or self._leaving",
                "at_once = self._leaving",
            ),
        ),
        (_THREAD,),
    ),
    Sabotage(
        "at the end everything goes to the disk",
        (
            Edit(
                "service.spool_thread",
                "at_once = self._offline or self._leaving",
                "at_once = self._offline",
            ),
        ),
        (_THREAD,),
    ),
    Sabotage(
        "what is not done after five seconds goes to the disk",
        (
            Edit(
                "utterance.spool",
                "            or ages.since_end_s(holding, now_ns) >= UNFINISHED_S\n",
                "",
            ),
        ),
        (_RULES,),
    ),
    Sabotage(
        "so does what is unacknowledged for twenty",
        (
            Edit(
                "utterance.spool",
                "            or ages.unacknowledged_s(holding, now_ns) >= UNACKNOWLEDGED_S\n",
                "",
            ),
        ),
        (_RULES,),
    ),
    Sabotage(
        "the limit in bytes",
        (
            Edit(
                "utterance.spool",
                "over = sum(holding.cold_bytes for holding in holdings) - rules.max_bytes",
                "over = 0",
            ),
        ),
        (_RULES,),
    ),
    Sabotage(
        "age only between times that can be believed",
        (Edit("utterance.spool", "            and not holding.start.clock_unsynced\n", ""),),
        (_RULES,),
    ),
    Sabotage(
        "what is being said is never given up",
        (
            Edit(
                "utterance.spool",
                "[holding for holding in holdings if holding.ended]",
                "[*holdings]",
            ),
        ),
        (_RULES,),
    ),
    Sabotage(
        "room that is left to others",
        (
            Edit(
                "service.spool_thread",
                "if keep_bytes and free_bytes < keep_bytes:",
                "if False:",
            ),
        ),
        (_THREAD,),
    ),
    Sabotage(
        "what is given up is counted",
        (Edit("service.spool", "        self._dropped_samples += holding.waiting_samples\n", ""),),
        (_SPOOL,),
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
        (_THREAD, _MODEL),
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
        "the oldest is given up first",
        (
            Edit(
                "utterance.spool",
                "    return sorted(ended, key=lambda holding: not holding.done)",
                "    return ended[::-1]",
            ),
        ),
        (_RULES,),
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
