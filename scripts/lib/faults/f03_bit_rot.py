"""F3: bits of segment files flip."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fault import FaultError
from scripts.lib.fault_kit.tests_run import hold
from tests.utterance.making import check_tone, head, tail, tone

from stt_edge.model import AudioSpan
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.recovery import LogWarning
from stt_edge.utterance.segment import Block, block_at

NAME = "F3"
TITLE = "a flipped bit anywhere in a segment file"

FLIPS: Final = 1000
QUICK_FLIPS: Final = 60
_BLOCKS: Final = 10
_SAMPLES: Final = 1600
_EVERYTHING: Final = 1 << 40


def run(work: Path, quick: bool) -> str:
    """Flip single bits of a recovered file and read it back, as the next start would."""
    tried = "" if quick else f", {hold('tests/utterance/test_segment.py')}"
    flips = QUICK_FLIPS if quick else FLIPS
    whole = _segment(work / "whole")
    chance = random.Random(7)
    for number in range(flips):
        _flip(work, whole, chance.randrange(8 * len(whole[1])), number)
    return f"{flips} of {flips} flips detected, only the block they were in was lost{tried}"


def _segment(directory: Path) -> tuple[str, bytes]:
    """Return the name and the content of the file of an utterance that has ended."""
    log = UtteranceLog(directory)
    log.recover()
    begun = head(0)
    log.start(begun)
    for number in range(_BLOCKS):
        log.append(begun.id, tone(number * _SAMPLES, _SAMPLES))
    log.end(begun.id, tail(_BLOCKS * _SAMPLES))
    log.close()
    (path,) = directory.iterdir()
    return path.name, path.read_bytes()


def _flip(work: Path, whole: tuple[str, bytes], bit: int, number: int) -> None:
    name, content = whole
    directory = work / "flipped"
    directory.mkdir(exist_ok=True)
    broken = bytearray(content)
    broken[bit // 8] ^= 1 << bit % 8
    (directory / name).write_bytes(broken)
    log = UtteranceLog(directory)
    (info,) = log.recover()
    spans = log.read(info.id, 0, _EVERYTHING)
    warnings = log.take_warnings()
    log.delete(info.id)
    log.close()
    _judge(content, bit // 8, spans, warnings, f"flip {number} of bit {bit}")


def _judge(
    content: bytes, at: int, spans: list[AudioSpan], warnings: list[LogWarning], which: str
) -> None:
    """Check that the audio of the damaged block, and no other, is missing, and that it was told."""
    hit = next((block for block in _blocks(content) if block.offset <= at < block.end), None)
    lost = hit.audio() if hit is not None else None
    missing = set() if lost is None else set(range(lost.sample, lost.end))
    there = {sample for start, end in check_tone(spans) for sample in range(start, end)}
    if there != set(range(_BLOCKS * _SAMPLES)) - missing:
        raise FaultError(f"{which}: {len(there)} samples are read, {len(missing)} may be missing")
    if not warnings:
        raise FaultError(f"{which}: nothing was noticed")


def _blocks(content: bytes) -> list[Block]:
    """Return the blocks of a file that is whole, the header before them included in the first."""
    found, offset = [], 8
    while (block := block_at(lambda at, size: content[at : at + size], offset)) is not None:
        found.append(block)
        offset = block.end
    return found
