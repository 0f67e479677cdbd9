"""How well pocketsphinx understands the recordings, live and whole: two minutes of computing.

    python -m tests.providers.word_errors [--pace 1] [--longest SECONDS]

Live is the provider as the daemon uses it, a worker fed with 100 ms at a time; whole is what a
decoder makes of each file at once. Audio is sent as fast as it is taken; only ``--pace 1``, which
speaks as people do, gives a meaning to the time from the end of the audio to the last result.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stt_edge.providers import pocketsphinx
from stt_edge.providers.base import Finalized, Provider
from stt_edge.providers.pocketsphinx import Options
from tests.providers.client import CHUNK_BYTES, Client, using
from tests.scoring import word_error_rate
from tests.shared_data import DATA, manifest


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what is said in it."""

    pcm: bytes
    reference: str

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 32_000


def clips(longest_s: float) -> list[Clip]:
    """The English ones that have a reference to trust."""
    return [
        Clip(_pcm_of(DATA / row["file"]), row["reference_norm"])
        for row in manifest()
        if row.get("lang") == "en"
        and row["kind"] == "speech"
        and row.get("reference_norm")
        and row["reference_confidence"] != "approximate"
        and row["seconds"] <= longest_s
    ]


def decode_whole(chosen: list[Clip]) -> list[str]:
    """What a decoder with nothing changed makes of each file."""
    import pocketsphinx as engine

    decoder = engine.Decoder(loglevel="FATAL")
    texts = []
    for clip in chosen:
        decoder.start_utt()
        decoder.process_raw(clip.pcm, full_utt=True)
        decoder.end_utt()
        heard = decoder.hyp()
        texts.append(heard.hypstr if heard else "")
    return texts


async def decode_live(chosen: list[Clip], pace: float) -> tuple[list[str], list[float], float]:
    """What the provider makes of it, its delays in seconds, and CPU seconds an audio second."""
    texts, delays = [], []
    async with using(pocketsphinx.build("ps", Options())) as provider:
        before_s = 0.0
        for clip in chosen:
            client = Client(provider)
            await client.connect()
            before_s = before_s or _cpu_s(provider)
            delays.append(await _speak(client, clip.pcm, pace))
            await client.goodbye()
            texts.append(client.text)
        spent_s = _cpu_s(provider) - before_s
    return texts, delays, spent_s / sum(clip.seconds for clip in chosen)


async def _speak(client: Client, pcm: bytes, pace: float) -> float:
    started_s = time.monotonic()
    client.protocol.begin()
    for at in range(0, len(pcm), CHUNK_BYTES):
        chunk = pcm[at : at + CHUNK_BYTES]
        if pace:
            due_s = started_s + (at + len(chunk)) / 32_000 / pace
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        client.protocol.send_audio(chunk)
        await client.flush()
    ended_s = time.monotonic()
    client.protocol.finalize()
    await client.flush()
    await client.until(Finalized)
    return time.monotonic() - ended_s


def _cpu_s(provider: Provider) -> float:
    host: Any = getattr(provider.aclose, "__self__", None)
    fields = Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pcm_of(path: Path) -> bytes:
    with wave.open(str(path)) as recording:
        return bytes(recording.readframes(recording.getnframes()))


def main() -> None:
    """Print both word error rates, and what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--longest", type=float, default=60.0)
    args = parser.parse_args()
    chosen = clips(args.longest)
    live, delays, cost = asyncio.run(decode_live(chosen, args.pace))
    references = [clip.reference for clip in chosen]
    print(f"{len(chosen)} clips, {sum(clip.seconds for clip in chosen):.0f} s")
    print(f"live   WER {word_error_rate(list(zip(references, live, strict=True))):.4f}")
    print(f"       {cost:.3f} CPU seconds an audio second")
    delays.sort()
    print(f"       result {_at(delays, 0.5):.2f} s after the end (p95 {_at(delays, 0.95):.2f} s)")
    before_s = time.process_time()
    whole = decode_whole(chosen)
    cost = (time.process_time() - before_s) / sum(clip.seconds for clip in chosen)
    print(f"whole  WER {word_error_rate(list(zip(references, whole, strict=True))):.4f}")
    print(f"       {cost:.3f} CPU seconds an audio second")


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


if __name__ == "__main__":
    main()
