"""The segment format: what is in a file is found, what is damaged is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stt_edge.model import AudioSpan
from stt_edge.utterance.segment import (
    FILE_HEADER,
    MAX_BLOCK_SAMPLES,
    MAX_PAYLOAD_BYTES,
    Block,
    Damage,
    Kind,
    encode_audio,
    encode_block,
    scan,
    split,
)
from tests.utterance.making import check_tone, tone

AUDIO = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def segment(lengths: list[int]) -> tuple[bytes, list[int]]:
    """Return a file with a head, audio blocks of these lengths and a tail, and where each ends."""
    data = FILE_HEADER + encode_block(Kind.HEAD, b'{"head": 1}', len(FILE_HEADER))
    ends = [len(data)]
    sample = 5000
    for samples in lengths:
        data += encode_audio(tone(sample, samples), len(data))
        ends.append(len(data))
        sample += samples
    data += encode_block(Kind.TAIL, b'{"tail": 1}', len(data))
    return data, [*ends, len(data)]


def items(data: bytes) -> list[Block | Damage]:
    return list(scan(lambda offset, size: data[offset : offset + size], len(data)))


def blocks(data: bytes) -> list[Block]:
    return [item for item in items(data) if isinstance(item, Block)]


def audio(data: bytes) -> list[AudioSpan]:
    return [span for block in blocks(data) if (span := block.audio()) is not None]


def covers(data: bytes, found: list[Block | Damage]) -> bool:
    """Return whether every byte of a file is accounted for, once."""
    at = 0 if found and found[0].offset == 0 else len(FILE_HEADER)
    for item in found:
        if item.offset != at:
            return False
        at = item.end
    return at == len(data) or not found


@given(AUDIO)
def test_every_block_written_is_found_in_order_and_nothing_else(lengths: list[int]) -> None:
    data, _ = segment(lengths)
    found = items(data)
    assert [item.kind for item in found if isinstance(item, Block)] == [
        Kind.HEAD,
        *[Kind.AUDIO] * len(lengths),
        Kind.TAIL,
    ]
    assert len(found) == len(lengths) + 2
    assert [end - start for start, end in check_tone(audio(data))] == lengths


@given(AUDIO, st.data())
def test_a_truncated_file_yields_the_whole_blocks_before_the_cut(
    lengths: list[int], data: st.DataObject
) -> None:
    whole, ends = segment(lengths)
    cut = data.draw(st.integers(0, len(whole)))
    found = items(whole[:cut])
    intact = sum(end <= cut for end in ends)
    assert [item for item in found if isinstance(item, Block)] == blocks(whole)[:intact]
    assert covers(whole[:cut], found)
    torn = cut not in (0, len(FILE_HEADER), *ends)
    assert [isinstance(item, Damage) for item in found] == [False] * intact + [True] * torn


@given(AUDIO, st.data())
def test_a_flipped_bit_costs_the_block_it_is_in_and_no_other(
    lengths: list[int], data: st.DataObject
) -> None:
    whole, ends = segment(lengths)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    check_flip(whole, ends, bit)


def test_a_thousand_flipped_bits_are_each_detected() -> None:
    whole, ends = segment([1600] * 10)
    chance = random.Random(7)
    for _ in range(1000):
        check_flip(whole, ends, chance.randrange(len(whole) * 8))


def check_flip(whole: bytes, ends: list[int], bit: int) -> None:
    at = bit // 8
    broken = bytearray(whole)
    broken[at] ^= 1 << bit % 8
    found = items(bytes(broken))
    expected = [block for block in blocks(whole) if not block.offset <= at < block.end]
    assert [item for item in found if isinstance(item, Block)] == expected
    damages = [item for item in found if isinstance(item, Damage)]
    assert len(damages) == 1
    assert damages[0].offset <= at < damages[0].end
    assert covers(bytes(broken), found)


@given(AUDIO, st.data())
def test_bytes_overwritten_anywhere_never_yield_audio_that_was_not_written(
    lengths: list[int], data: st.DataObject
) -> None:
    whole, _ = segment(lengths)
    at = data.draw(st.integers(0, len(whole)))
    junk = data.draw(st.binary(max_size=60))
    broken = whole[:at] + junk + whole[at + len(junk) :]
    check_tone(audio(broken))
    assert covers(broken, items(broken))


@given(st.binary(max_size=400))
@example(b"\xa7SB" * 50)
@example(FILE_HEADER)
@example(bytes(4096))
def test_any_bytes_at_all_are_read_without_an_exception(junk: bytes) -> None:
    assert covers(junk, items(junk))
    assert covers(FILE_HEADER + junk, items(FILE_HEADER + junk))


def test_a_damaged_file_header_costs_no_block() -> None:
    whole, _ = segment([10, 20])
    assert blocks(b"nothing!" + whole[8:]) == blocks(whole)


def test_sound_that_is_a_segment_file_is_not_taken_for_blocks_when_its_own_block_is_damaged() -> (
    None
):
    inner, _ = segment([100] * 5)
    inner += bytes(len(inner) % 2)
    data = FILE_HEADER + encode_block(Kind.HEAD, b"{}", len(FILE_HEADER))
    at = len(data)
    data += encode_audio(AudioSpan(0, inner), at)
    after = encode_audio(tone(90_000, 50), len(data))
    broken = bytearray(data + after)
    broken[at + 5] ^= 1
    assert check_tone(audio(bytes(broken))) == [(90_000, 90_050)]


def test_a_whole_block_behind_a_torn_one_is_found() -> None:
    whole, ends = segment([400, 400])
    torn = whole[: ends[0] + 100]
    data = torn + encode_audio(tone(77_000, 300), len(torn))
    assert check_tone(audio(data)) == [(77_000, 77_300)]


def test_a_block_moved_to_another_place_of_the_file_is_not_valid_there() -> None:
    whole, ends = segment([400, 400])
    swapped = whole[: ends[0]] + whole[ends[1] : ends[2]] + whole[ends[0] : ends[1]]
    assert audio(swapped) == []


def test_blocks_of_an_unknown_kind_are_passed_on_and_cost_nothing() -> None:
    whole, _ = segment([400])
    unknown = bytearray(encode_block(Kind.TAIL, b"later", len(whole)))
    later = encode_block(9, b"later", len(whole))  # type: ignore[arg-type]
    assert len(unknown) == len(later)
    found = items(whole + later)
    assert isinstance(found[-1], Block)
    assert (found[-1].kind, found[-1].audio()) == (9, None)


def test_a_scan_asks_for_no_more_than_128_kib_at_once_however_large_the_file() -> None:
    data, _ = segment([30_000] * 20)
    data += bytes(500_000) + b"\xa7S" + bytes(200_000)
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    spans = [item.audio() for item in scan(read, len(data)) if isinstance(item, Block)]
    assert sum(span is not None for span in spans) == 20
    assert max(asked) <= 128 * 1024
    assert sum(asked) < 3 * len(data)


@pytest.mark.parametrize("before", range(128 * 1024 - 20, 128 * 1024 + 3))
def test_a_block_behind_damage_is_found_wherever_it_begins(before: int) -> None:
    junk = bytes(before)
    assert check_tone(audio(junk + encode_audio(tone(0, 50), before))) == [(0, 50)]


def test_a_block_longer_than_any_that_is_written_is_damage() -> None:
    longest = FILE_HEADER + encode_block(Kind.AUDIO, bytes(MAX_PAYLOAD_BYTES), len(FILE_HEADER))
    assert len(blocks(longest)) == 1
    longer = FILE_HEADER + encode_block(Kind.AUDIO, bytes(MAX_PAYLOAD_BYTES + 2), len(FILE_HEADER))
    assert blocks(longer) == []


@given(st.integers(0, 5 * MAX_BLOCK_SAMPLES))
def test_long_audio_is_cut_into_blocks_that_follow_one_another(samples: int) -> None:
    pieces = split(AudioSpan(10, bytes(2 * samples)))
    assert sum(piece.end - piece.sample for piece in pieces) == samples
    assert all(0 < piece.end - piece.sample <= MAX_BLOCK_SAMPLES for piece in pieces)
    assert [piece.sample for piece in pieces] == [
        10 + at for at in range(0, samples, MAX_BLOCK_SAMPLES)
    ]
