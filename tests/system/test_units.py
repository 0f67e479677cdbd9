"""The unit files hold what the design promises, and systemd has nothing to say against them."""

from __future__ import annotations

import os
import re
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


def laid_out(folder: Path, *drop_ins: str) -> list[str]:
    """Both units, and drop-ins beside each, for systemd to look at; the units' paths.

    The program need not be installed here; everything else is looked at as it stands.
    """
    paths = []
    for name in ("stt-edge.service", "stt-edge@kitchen.service"):
        text = (UNITS / name.replace("kitchen", "")).read_text(encoding="utf-8")
        assert "/opt/stt-edge/bin/stt-edge" in text
        unit = folder / name
        unit.write_text(text.replace("/opt/stt-edge/bin/stt-edge", sys.executable))
        paths.append(str(unit))
        beside = folder / f"{name}.d"
        beside.mkdir()
        for drop_in in drop_ins:
            shutil.copy(UNITS / drop_in, beside)
    return paths


def analyze(folder: Path, verb: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """``systemd-analyze``, with a folder of units before the system's own."""
    return subprocess.run(
        ["systemd-analyze", verb, *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
    )


DROP_INS: Final = sorted(path.name for path in UNITS.glob("*.conf"))
LATER: Final = "10-notify-reload.conf"


@needs_systemd_analyze
@pytest.mark.parametrize("drop_in", [None, *(name for name in DROP_INS if name != LATER)])
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path, drop_in: str | None) -> None:
    units = laid_out(tmp_path, *([drop_in] if drop_in else []))
    done = analyze(tmp_path, "verify", "--man=no", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd_analyze
def test_only_a_systemd_that_is_too_old_objects_to_the_drop_in_for_later_ones(
    tmp_path: Path,
) -> None:
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True)
    version = int(said.stdout.split()[1])
    done = analyze(tmp_path, "verify", "--man=no", *laid_out(tmp_path, LATER))
    complaints = done.stdout + done.stderr
    assert bool(complaints) == (version < 254), complaints


def test_every_drop_in_says_where_it_belongs_and_sets_something() -> None:
    assert len(DROP_INS) >= 3
    for name in DROP_INS:
        text = (UNITS / name).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^# Install as .*{re.escape(name)}", text), name
        assert "\n[Service]\n" in text
        assert any(values != [""] for values in directives(name).values()), name


def test_the_package_has_the_drop_ins_in_the_folder_the_documents_name() -> None:
    security = (UNITS.parent / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\d\d-[a-z-]+\.conf", security))
    assert named
    assert named <= set(DROP_INS)


@needs_systemd_analyze
@pytest.mark.parametrize(
    ("drop_in", "threshold"), [("20-credentials.conf", 15), ("30-local-engine.conf", 17)]
)
def test_a_drop_in_opens_no_more_than_it_says(tmp_path: Path, drop_in: str, threshold: int) -> None:
    for unit in laid_out(tmp_path, drop_in):
        # The score of a file does not see its drop-ins: they are appended, as systemd reads them.
        with Path(unit).open("a", encoding="utf-8") as file:
            file.write("\n" + (UNITS / drop_in).read_text(encoding="utf-8"))
        done = analyze(tmp_path, "security", "--offline=true", f"--threshold={threshold}", unit)
        assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("name", NAMES)
def test_the_calls_by_which_main_shuts_itself_out_of_sound_are_allowed_by_name(name: str) -> None:
    calls = [f"landlock_{what}" for what in ("create_ruleset", "add_rule", "restrict_self")]
    # Last: a list that begins with ~ takes away from what came before.
    assert directives(name)["SystemCallFilter"][-1].split() == calls


@needs_systemd_analyze
@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_scores_no_worse_than_it_did(name: str) -> None:
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNITS / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
