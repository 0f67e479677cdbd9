"""Protections of the utterance log."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_SEGMENT: Final = "utterance/test_segment.py"
_RECOVERY: Final = "utterance/test_recovery.py"
_LOG: Final = "utterance/test_log.py"

TABLE: Final = (
    Sabotage(
        "checksum of audio",
        (Edit("utterance.segment", "or zlib.crc32(payload) != payload_crc", ""),),
        (_SEGMENT,),
    ),
    Sabotage(
        "checksum of block headers",
        (
            Edit(
                "utterance.segment",
                " or header_crc != _header_crc(header[: _FIELDS.size], offset)",
                "",
            ),
        ),
        (_SEGMENT,),
    ),
    Sabotage(
        "going on behind damage",
        (Edit("utterance.segment", "            offset = found\n", "            break\n"),),
        (_SEGMENT,),
    ),
    Sabotage(
        "torn tail cut off",
        (
            Edit(
                "utterance.recovery",
                "            self._disk.truncate(segment.path, size_bytes)\n",
                "            pass\n",
            ),
        ),
        (_RECOVERY,),
    ),
    Sabotage(
        "file header written twice",
        (
            Edit(
                "utterance.log",
                "return first + encode_block(Kind.HEAD, payload, offset + len(first))",
                "return first",
            ),
        ),
        (_RECOVERY,),
    ),
    Sabotage(
        "fresh file after a failed write",
        (
            Edit(
                "utterance.log",
                "            with contextlib.suppress(OSError):\n"
                "                self._let_go(segment)\n            raise",
                "            raise",
            ),
        ),
        (_LOG,),
    ),
    Sabotage(
        "what could not be written counts as lost",
        (Edit("utterance.contents", "lost=max(tail.lost, missing)", "lost=tail.lost"),),
        (_LOG,),
    ),
    Sabotage(
        "open utterances are ended at a start",
        (
            Edit(
                "utterance.log",
                "if utterance.tail is None:\n                self._end",
                "if 0:\n                self._end",
            ),
        ),
        (_RECOVERY,),
    ),
    Sabotage(
        "audio is kept while the utterance is open",
        (
            Edit(
                "utterance.log",
                "if utterance.tail is None:\n                raise",
                "if 0:\n                raise",
            ),
        ),
        (_LOG,),
    ),
)
