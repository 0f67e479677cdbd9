"""The unit files hold what the design promises, and systemd has nothing to say against them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

UNITS: Final = Path(__file__).resolve().parents[2] / "systemd"
NAMES: Final = ("stt-edge.service", "stt-edge@.service")

# It makes /run/systemd where nothing else has, and must be allowed to.
needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None
    or not (Path("/run/systemd").is_dir() or os.geteuid() == 0),
    reason="needs systemd-analyze, and root where systemd has never run",
)


def directives(name: str) -> dict[str, list[str]]:
    """The values of each directive of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("Type", ["notify"]),
        ("NotifyAccess", ["main"]),
        ("WatchdogSec", ["30s"]),
        ("TimeoutStopSec", ["20s"]),
        ("Restart", ["always"]),
        ("RestartSec", ["100ms"]),
        ("RestartPreventExitStatus", ["78"]),
        ("KillMode", ["mixed"]),
        ("OOMPolicy", ["continue"]),
        ("After", ["network.target sound.target modprobe@snd.service"]),
        ("Wants", ["modprobe@snd.service"]),
        ("StartLimitIntervalSec", ["0"]),
        ("ExecReload", ["/bin/kill -HUP $MAINPID"]),
        ("User", ["stt-edge"]),
        ("SupplementaryGroups", ["audio"]),
        ("RuntimeDirectoryPreserve", ["yes"]),
        ("StateDirectoryMode", ["0700"]),
        ("DevicePolicy", ["closed"]),
        ("DeviceAllow", ["char-alsa rw"]),
        ("MemoryDenyWriteExecute", ["yes"]),
        ("MemoryMax", ["384M"]),
    ],
)
def test_a_unit_has_the_directives_the_design_fixes(name: str, key: str, values: list[str]) -> None:
    assert directives(name).get(key) == values


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_neither_waits_for_the_network_nor_hides_the_sound_card(name: str) -> None:
    found = directives(name)
    ordering = [*found.get("After", []), *found.get("Wants", []), *found.get("Requires", [])]
    assert not any("network-online" in value for value in ordering)
    assert "PrivateDevices" not in found
    assert "MemoryHigh" not in found


def test_the_two_units_differ_only_in_what_names_the_instance() -> None:
    one, many = (directives(name) for name in NAMES)
    different = {key for key in one | many if one.get(key) != many.get(key)}
    assert different == {
        "Description",
        "ExecStart",
        "ExecStartPost",
        "StateDirectory",
        "LogsDirectory",
        "RuntimeDirectory",
    }
    assert one["ExecStart"] == ["/opt/stt-edge/bin/stt-edge run"]
    assert many["ExecStart"] == ["/opt/stt-edge/bin/stt-edge run --config /etc/stt-edge/%i.yaml"]


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    for name in ("stt-edge.service", "stt-edge@kitchen.service"):
        source = UNITS / name.replace("kitchen", "")
        # The program need not be installed here; everything else is looked at as it stands.
        text = source.read_text(encoding="utf-8")
        assert "/opt/stt-edge/bin/stt-edge" in text
        (tmp_path / name).write_text(text.replace("/opt/stt-edge/bin/stt-edge", sys.executable))
    argv = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd_analyze
@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_scores_no_worse_than_it_did(name: str) -> None:
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNITS / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
