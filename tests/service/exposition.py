"""A strict reader of Prometheus' text format, version 0.0.4, written from its rules.

Stricter than the format asks: every family has HELP and TYPE, once and in this order, before its
samples, which lie together; counters end in _total; histograms are whole; no timestamps, which
node_exporter's textfile collector refuses.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\n|\\")*)"')
_SAMPLE = re.compile(r"(?P<name>[^{ ]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")
_UNESCAPE = {r"\\": "\\", r"\n": "\n", r"\"": '"'}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Read:
    """A family as it was read."""

    name: str
    help: str
    kind: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def read(text: str) -> dict[str, Read]:
    """Return the families of a text by name. Raises ValueError for any breach of the rules."""
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    families: dict[str, Read] = {}
    current: Read | None = None
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            current = _begin(line, families)
        elif line.startswith("# TYPE "):
            _type(line, current)
        else:
            _add(line, current)
    for family in families.values():
        _check(family)
    return families


def value(families: dict[str, Read], name: str, **labels: str) -> float:
    """Return the value of the one sample of that name and those labels."""
    wanted = tuple(sorted(labels.items()))
    (found,) = (
        number
        for family in families.values()
        for (sample, those), number in family.samples.items()
        if (sample, those) == (name, wanted)
    )
    return found


def _begin(line: str, families: dict[str, Read]) -> Read:
    _, _, name, about = line.split(" ", 3)
    if not _NAME.fullmatch(name) or name in families or not about:
        raise ValueError(f"a second family, or none: {line}")
    if re.search(r"\\(?![\\n])", about):
        raise ValueError(f"help with a stray backslash: {line}")
    families[name] = Read(name, about)
    return families[name]


def _type(line: str, family: Read | None) -> None:
    _, _, name, kind = line.split(" ")
    if family is None or family.name != name or family.kind or family.samples:
        raise ValueError(f"a type out of place: {line}")
    if kind not in ("counter", "gauge", "histogram"):
        raise ValueError(f"no such type: {line}")
    family.kind = kind


def _add(line: str, family: Read | None) -> None:
    match = _SAMPLE.fullmatch(line)
    if match is None or family is None or not family.kind:
        raise ValueError(f"no sample, or out of place: {line!r}")
    suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
    if match["name"] not in [family.name + suffix for suffix in suffixes]:
        raise ValueError(f"a sample among those of {family.name}: {line}")
    labels = _labels(match["labels"])
    if not (_NUMBER.fullmatch(match["value"]) or match["value"] in ("+Inf", "-Inf", "NaN")):
        raise ValueError(f"no number: {line}")
    key = (match["name"], tuple(sorted(labels)))
    if key in family.samples:
        raise ValueError(f"twice: {line}")
    family.samples[key] = float(match["value"])


def _labels(text: str | None) -> list[tuple[str, str]]:
    if text is None:
        return []
    found, at = [], 0
    while match := _LABEL.match(text, at):
        unescaped = re.sub(r"\\.", lambda escape: _UNESCAPE[escape[0]], match[2])
        found.append((match[1], unescaped))
        at = match.end()
        if at == len(text):
            break
        if text[at] != ",":
            raise ValueError(f"labels: {text}")
        at += 1
    if not found or at != len(text):
        raise ValueError(f"labels: {text}")
    if len(dict(found)) != len(found):
        raise ValueError(f"a label twice: {text}")
    return found


def _check(family: Read) -> None:
    if not family.samples:
        raise ValueError(f"{family.name} has no sample")
    if (family.kind == "counter") != family.name.endswith("_total"):
        raise ValueError(f"{family.name} is a {family.kind}")
    if family.kind == "counter" and min(family.samples.values()) < 0:
        raise ValueError(f"{family.name} is less than 0")
    if family.kind == "histogram":
        _check_histogram(family)


def _check_histogram(family: Read) -> None:
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in family.samples.items()
        if name.endswith("_bucket")
    }
    counts = [buckets[bound] for bound in sorted(buckets)]
    if counts != sorted(counts) or math.inf not in buckets:
        raise ValueError(f"the buckets of {family.name} do not add up")
    totals = {name: count for (name, _), count in family.samples.items()}
    if totals[f"{family.name}_count"] != buckets[math.inf] or f"{family.name}_sum" not in totals:
        raise ValueError(f"{family.name} is not whole")
