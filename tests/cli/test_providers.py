"""``stt-edge providers``: what is said of each, without using any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from stt_edge.cli import providers as command
from stt_edge.cli.main import main
from stt_edge.providers import registry
from stt_edge.providers.base import Billing, Capabilities, PartTimes
from tests.fakes.recording import Options

KNOWN = Capabilities(
    billing=Billing.SESSION,
    minimum_billed_s=15.0,
    partials=True,
    part_times=PartTimes.WORDS,
    finalize=True,
    hold_s=60.0,
)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of somebody else's that says all there is to say."""
    module = ModuleType("other_provider")
    for name, value in {
        "Options": type("Options", (Options,), {"__module__": "other_provider"}),
        "build": lambda *_: pytest.fail("nothing is built"),
        "CAPABILITIES": KNOWN,
        "EXTRA": "other",
        "PACKAGES": ("nowhere.to.be.found", "json"),
    }.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "other_provider", module)
    monkeypatch.setitem(registry._registered, "other", "other_provider")
    return module


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert main(["providers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["providers"]
    return {row["name"]: row for row in rows}


def test_json_says_what_a_provider_can_do_and_what_it_lacks(
    other: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys)["other"] == {
        "name": "other",
        "installed": False,
        "extra": "other",
        "missing": ["nowhere.to.be.found"],
        "install": 'pip install "stt-edge[other]"',
        "local": False,
        "capabilities": {
            "partials": True,
            "times": "words",
            "confidence": False,
            "finalize": True,
            "hold_s": 60.0,
            "max_connections": 2,
            "max_session_s": None,
            "max_utterance_s": None,
            "whole_file": False,
            "resumable": False,
        },
        "billing": {
            "for": "session",
            "minimum_s": 15.0,
            "rule": "time connected, speech or not, at least 15 s a session",
        },
        "problem": None,
    }


def test_every_provider_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(listed(capsys)) == registry.names()


def test_the_table_has_the_same_and_how_to_install_what_is_missing(
    other: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["providers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(command._TABLE_HEAD)
    (row,) = (line for line in lines if line.startswith("other "))
    assert row.split("  ")[0] == "other"
    assert row.split()[1:9] == ["no", "network", "yes", "words", "no", "yes", "60", "s"]
    assert row.endswith("time connected, speech or not, at least 15 s a session")
    assert 'other: pip install "stt-edge[other]"' in lines


def test_one_that_says_nothing_of_itself_is_listed_all_the_same(
    other: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CAPABILITIES", "EXTRA", "PACKAGES"):
        delattr(other, name)
    row = listed(capsys)["other"]
    assert (row["installed"], row["capabilities"], row["billing"]) == (True, None, None)
    assert main(["providers"]) == 0
    assert "other" in capsys.readouterr().out


def test_one_that_cannot_be_imported_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry._registered, "broken", "nowhere.to.be.found")
    rows = listed(capsys)
    assert "cannot be loaded" in rows["broken"]["problem"]
    assert rows["broken"]["installed"] is False
    assert "pocketsphinx" in rows
    assert main(["providers"]) == 0
    assert "! The provider broken cannot be loaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("billing", "least", "rule"),
    [
        (Billing.NOTHING, 0.0, "nothing"),
        (Billing.AUDIO, 0.0, "audio sent"),
        (Billing.AUDIO, 15.0, "audio sent, at least 15 s a session"),
        (Billing.SESSION, 0.0, "time connected, speech or not"),
    ],
)
def test_the_billing_rule_is_in_words(billing: Billing, least: float, rule: str) -> None:
    assert command.billing_rule(Capabilities(billing=billing, minimum_billed_s=least)) == rule


def test_nothing_heavy_is_imported_for_it() -> None:
    script = (
        "import sys\nfrom stt_edge.cli.main import main\nmain(['providers'])\n"
        "print('LOADED', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.partition("LOADED ")[2].split())
    assert "stt_edge.providers.base" in loaded
    heavy = {"vosk", "sherpa_onnx", "pocketsphinx", "grpc", "botocore", "wyoming", "websockets"}
    heavy |= {"google.cloud.speech", "google.cloud.storage", "google.auth"}
    assert sorted(heavy & loaded) == []
