"""Protections of what is handed to the outside."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_JSONL: Final = "sinks/test_jsonl.py"
_ROTATION: Final = "sinks/test_rotation.py"
_FOLLOWER: Final = "sinks/test_follower.py"

TABLE: Final = (
    Sabotage(
        "no id twice in the file",
        (Edit("sinks.jsonl_file", "if record_id in self._ids:", "if False:"),),
        (_JSONL,),
    ),
    Sabotage(
        "ids read back at a start",
        (
            Edit(
                "sinks.jsonl_file",
                "live = list(_ids_at_end_of(self.path, READ_BACK_BYTES))",
                "live: list[str] = []",
            ),
        ),
        (_JSONL,),
    ),
    Sabotage(
        "ids read back from the rotated file",
        (Edit("sinks.jsonl_file", "[*_ids_at_end_of(predecessor, budget), *live]", "[*live]"),),
        (_JSONL,),
    ),
    Sabotage(
        "each line synced",
        (Edit("sinks.jsonl_file", "            os.fdatasync(descriptor)\n", ""),),
        (_JSONL,),
    ),
    Sabotage(
        "a torn last line is ended first",
        (
            Edit(
                "sinks.jsonl_file",
                'line if whole else b"\\n" + line',
                "line",
            ),
        ),
        (_JSONL,),
    ),
    Sabotage(
        "a short write is cut back",
        (
            Edit(
                "sinks.jsonl_file",
                "            os.ftruncate(descriptor, size)\n",
                "            pass\n",
            ),
        ),
        (_JSONL,),
    ),
    Sabotage(
        "the file that the path names now",
        (
            Edit(
                "sinks.jsonl_file",
                "return os.path.samestat(self.path.stat(), os.fstat(descriptor))",
                "return True",
            ),
        ),
        (_ROTATION,),
    ),
    Sabotage(
        "the moved file is written to for a moment",
        (Edit("sinks.jsonl_file", "return now_s - self._moved_at_s < LINGER_S", "return False"),),
        (_ROTATION,),
    ),
    Sabotage(
        "cursor stored behind the record",
        (
            Edit(
                "sinks.follower",
                "            await self._hand_over(records)\n",
                "            self._position = records[-1][0]\n"
                "            await self._save_cursor()\n"
                "            await self._hand_over(records)\n",
            ),
        ),
        (_FOLLOWER,),
    ),
    Sabotage(
        "the place of a new sink is stored at once",
        (
            Edit(
                "sinks.follower",
                "await self._save_cursor()  # a crash",
                "pass  # a crash",
            ),
        ),
        (_FOLLOWER,),
    ),
    Sabotage(
        "a record that is refused is set aside",
        (
            Edit(
                "sinks.follower",
                "                return\n        self._put_aside(record, error)\n",
                "                return\n        raise SinkUnavailableError('') from error\n",
            ),
        ),
        (_FOLLOWER,),
    ),
)
