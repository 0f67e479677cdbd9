"""Protections of the store, and of the order in which results are carried to it."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_STORE: Final = "store/test_store.py"

TABLE: Final = (
    Sabotage(
        "synchronous=FULL",
        (Edit("store.schema", "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),),
        (_STORE,),
    ),
    Sabotage(
        "write-ahead log",
        (Edit("store.schema", "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = MEMORY"),),
        (_STORE,),
    ),
    Sabotage(
        "acknowledged position never moves back",
        (
            Edit(
                "store.store",
                "acked = max(utterance.acked_sample, acked_sample)",
                "acked = acked_sample",
            ),
        ),
        (_STORE,),
    ),
    Sabotage(
        "acknowledged position moves with the part",
        (
            Edit(
                "store.store",
                "acked = max(utterance.acked_sample, acked_sample)",
                "acked = utterance.acked_sample",
            ),
        ),
        (_STORE,),
    ),
    Sabotage(
        "part and position in one transaction",
        (
            Edit(
                "store.database",
                'self._connection.execute("BEGIN IMMEDIATE")',
                "pass",
            ),
            Edit("store.database", 'self._connection.execute("COMMIT")', "pass"),
        ),
        (_STORE,),
    ),
    Sabotage(
        "a part committed again is stored once",
        (Edit("store.store", "            elif there != row:", "            else:"),),
        (_STORE,),
    ),
    Sabotage(
        "a second finish makes no second record",
        (
            Edit(
                "store.store",
                "            if utterance.state in FINISHED:\n                return seq\n",
                "",
            ),
            Edit("store.store", "if record is not None and seq is None:", "if record is not None:"),
        ),
        (_STORE,),
    ),
    Sabotage(
        "a damaged store is set aside",
        (Edit("store.opening", "        reason = str(error)\n", "        raise\n"),),
        ("store/test_opening.py",),
    ),
    Sabotage(
        "one daemon a state directory",
        (Edit("store.lock", "fcntl.LOCK_EX", "fcntl.LOCK_SH"),),
        ("store/test_lock.py",),
    ),
    Sabotage(
        "audio deleted only after the commit",
        (
            Edit(
                "service.results",
                "        def done(seq: int | None) -> None:\n"
                "            if state is UtteranceState.DONE:\n"
                "                self._delete_audio(utterance_id)\n",
                "        if state is UtteranceState.DONE:\n"
                "            self._delete_audio(utterance_id)\n\n"
                "        def done(seq: int | None) -> None:\n",
            ),
        ),
        ("service/test_results.py",),
    ),
    Sabotage(
        "a result the store does not take is tried again",
        (
            Edit(
                "service.results",
                "                failures += 1\n                continue\n",
                "                return\n",
            ),
        ),
        ("service/test_results.py",),
    ),
    Sabotage(
        "no new session while results wait",
        (Edit("service.results", "return self.pending >= CONGESTED", "return False"),),
        ("service/test_results.py",),
    ),
)
