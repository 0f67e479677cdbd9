"""The files an operator installs beside the program, read by the tools they are meant for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stt_edge.message_ids import MessageId
from tests.sinks.namespaces import ROOT

CATALOG = ROOT / "config" / "stt-edge.catalog"
SYSUSERS = ROOT / "config" / "sysusers"


def catalog_ids() -> list[str]:
    return re.findall(r"(?m)^-- ([0-9a-f]{32})$", CATALOG.read_text())


def test_the_catalog_explains_exactly_the_events_there_are() -> None:
    assert sorted(catalog_ids()) == sorted(MessageId)
    assert len(set(MessageId)) == len(MessageId)


def test_every_event_is_one_the_program_reports() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "daemon").rglob("*.py"))
    assert {event.name for event in MessageId} == set(re.findall(r"MessageId\.([A-Z_]+)", source))


def test_every_entry_has_a_subject_the_product_and_an_explanation() -> None:
    for entry in re.split(r"(?m)^-- ", CATALOG.read_text())[1:]:
        head, _, body = entry.partition("\n\n")
        assert re.search(r"(?m)^Subject: \S", head), entry
        assert re.search(r"(?m)^Defined-By: stt-edge$", head), entry
        assert body.strip(), entry


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="there is no journalctl")
def test_journalctl_takes_the_catalog(tmp_path: Path) -> None:
    installed = tmp_path / "usr/lib/systemd/catalog"
    installed.mkdir(parents=True)
    shutil.copy(CATALOG, installed / "stt-edge.catalog")
    journalctl = ["journalctl", f"--root={tmp_path}"]
    update = subprocess.run(
        [*journalctl, "--update-catalog"], check=False, capture_output=True, text=True
    )
    assert (update.returncode, update.stderr) == (0, "")
    listed = subprocess.run(
        [*journalctl, "--list-catalog", "--no-pager"], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == sorted(MessageId)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers")
def test_systemd_sysusers_makes_the_user_and_lets_it_use_sound(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(SYSUSERS)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [user] = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, uid, gid, _, home, shell = user.split(":")
    assert (name, home) == ("stt-edge", "/var/lib/stt-edge")
    assert 0 < int(uid) < 1000
    assert shell.endswith("nologin")
    groups = {
        line.split(":")[0]: line.split(":")[2:]
        for line in (tmp_path / "etc/group").read_text().splitlines()
    }
    assert groups["stt-edge"][0] == gid
    assert groups["audio"][1] == "stt-edge"
