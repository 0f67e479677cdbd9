"""What goes into the Debian package is right before one is built."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from scripts.lib.deb import completion, control, lock, manual, pages, roff, tree
from scripts.lib.deb.command_line import parsers, shown_actions
from scripts.lib.deb.target import MACHINES, SUITES, Target, target

from stt_edge import __version__
from stt_edge.config.schema import keys_of
from stt_edge.config.settings import Config
from stt_edge.providers import registry as providers
from stt_edge.sinks import registry as sinks

ROOT: Final = Path(__file__).resolve().parents[2]
DEBIAN: Final = ROOT / "config" / "debian"
WHEN: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
TARGETS: Final = [target(suite, machine) for suite in SUITES for machine in MACHINES]
BOOKWORM: Final = target("bookworm", "arm64")


def plain(page: str) -> str:
    """A manual page without the marks that make its hyphens and fonts."""
    return re.sub(r"\\f[BIR]", "", page).replace(r"\-", "-").replace(r"\&", "").replace(r"\e", "\\")


# Control fields


def test_the_version_grows_with_the_program_and_with_the_release_of_debian() -> None:
    written = [
        control.debian_version("0.2.0.dev1", 12),
        control.debian_version("0.2.0rc1", 12),
        control.debian_version("0.2.0", 12),
        control.debian_version("0.2.0", 13),
        control.debian_version("0.2.1", 12),
    ]
    for earlier, later in itertools.pairwise(written):
        argv = ["dpkg", "--compare-versions", earlier, "lt", later]
        assert subprocess.run(argv, check=False).returncode == 0, (earlier, later)


def test_the_package_depends_on_the_python_its_venv_is_made_of() -> None:
    assert "python3.11" in control.depends(BOOKWORM, []).split(", ")
    assert "python3.13" in control.depends(target("trixie", "arm64"), []).split(", ")
    assert "libasound2t64" in control.depends(target("trixie", "amd64"), []).split(", ")


def test_a_library_is_depended_on_once_with_the_version_that_was_found() -> None:
    found = control.depends(BOOKWORM, ["libsystemd0 (>= 246)", "libc6 (>= 2.34)"]).split(", ")
    assert [one for one in found if one.startswith("libsystemd0")] == ["libsystemd0 (>= 246)"]
    assert "libc6 (>= 2.34)" in found


def test_dpkg_reads_the_control_file(tmp_path: Path) -> None:
    text = control.render_control(BOOKWORM, "1.2.3", libraries=[], installed_kib=4711)
    (tmp_path / "DEBIAN").mkdir()
    (tmp_path / "DEBIAN/control").write_text(text, encoding="utf-8")
    package = tmp_path / "one.deb"
    built = ["dpkg-deb", "--root-owner-group", "--build", str(tmp_path), str(package)]
    done = subprocess.run(built, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    fields = ["dpkg-deb", "--field", str(package), "Version", "Architecture", "Installed-Size"]
    said = subprocess.run(fields, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "Version: 1.2.3-1+deb12",
        "Architecture: arm64",
        "Installed-Size: 4711",
    ]


def test_the_changelog_is_one_that_debians_tools_read() -> None:
    text = control.render_changelog(BOOKWORM, "1.2.3", WHEN, "Some One <one@example.org>")
    assert re.fullmatch(
        r"stt-edge \(1\.2\.3-1\+deb12\) unstable; urgency=medium\n\n"
        r"  \* .+?\n\n -- Some One <one@example\.org>  Sat, 31 Jan 2026 12:00:00 \+0000\n",
        text,
        re.DOTALL,
    )


def test_the_installed_size_counts_whole_kibibytes_and_one_for_what_is_no_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(b"x" * 2049)
    (tmp_path / "link").symlink_to("large")
    assert control.installed_kib(tmp_path) == 1 + 1 + 3 + 1


# The lock file


def test_the_lock_file_has_everything_that_the_project_asks_for() -> None:
    locked = {line.partition("==")[0] for line in lock.versions()}
    wanted = {re.split(r"[^\w.-]", item)[0].lower() for item in lock.requirements()}
    assert wanted - locked == set()


def test_every_package_of_the_lock_file_has_a_hash() -> None:
    entries = re.split(r"(?m)^(?=\S)", lock.LOCK.read_text(encoding="utf-8"))
    for entry in entries:
        if "==" in entry:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert len([entry for entry in entries if "==" in entry]) == len(lock.versions()) > 5


@pytest.mark.parametrize("goal", TARGETS, ids=lambda g: f"{g.suite.release}-{g.architecture}")
def test_wheels_are_chosen_for_the_machine_and_the_python_of_the_target(goal: Target) -> None:
    options = lock.platform_options(goal)
    machine = MACHINES[goal.architecture]
    platforms = [b for a, b in itertools.pairwise(options) if a == "--platform"]
    assert platforms
    assert all(tag.endswith(f"_{machine}") for tag in platforms)
    assert f"--python-version={goal.python_tag}" in options


# Manual pages and completion


@pytest.mark.parametrize("command", parsers())
def test_the_manual_has_every_option_of_every_command(command: str) -> None:
    page = plain(manual.commands_page("2026-01-31"))
    section = page.partition(f'.SS "stt-edge {command}"\n')[2].partition(".SS ")[0]
    assert section
    for action in shown_actions(parsers()[command]):
        for name in action.option_strings or [str(action.metavar or action.dest)]:
            assert name in section, f"{command} {name}"


def test_the_manual_has_every_key_of_the_configuration_with_its_default() -> None:
    page = plain(manual.configuration_page("2026-01-31"))
    for key in keys_of(Config):
        assert re.search(rf"(?m)^{key.name}(:|\.\w+)?$", page), key.name
    assert re.search(r"(?m)^vad\.hangover_ms\n.*default: 600\.$", page)
    for registry in (providers, sinks):
        for name in registry.names():
            section = page.partition(f'.SS "{name}"\n')[2].partition(".SS ")[0]
            options = registry.options(name)
            assert section
            assert options is not None
            for key in keys_of(options):
                assert re.search(rf"(?m)^{key.name}:?$", section), f"{name}.{key.name}"


def test_a_manual_page_prints_what_would_mean_something_to_roff() -> None:
    lines = roff.paragraphs("It has a \\ in it\n.and a dot, **bold** _italic_ a-b")
    assert lines == [
        ".PP",
        r"It has a \e in it",
        r"\&.and a dot, \fBbold\fR \fIitalic\fR a\-b",
    ]


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
@pytest.mark.parametrize("name", ["commands", "configuration", "extra"])
def test_groff_has_nothing_to_say_against_a_page(name: str) -> None:
    pages = {
        "commands": manual.commands_page("2026-01-31"),
        "configuration": manual.configuration_page("2026-01-31"),
        "extra": (DEBIAN / "stt-edge-extra.8").read_text(encoding="utf-8"),
    }
    argv = ["groff", "-Kutf8", "-ww", "-mandoc", "-Tutf8", "-z"]
    done = subprocess.run(argv, input=pages[name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def completed(*words: str) -> set[str]:
    """What bash offers for the last of the words."""
    script = completion.render() + (
        '\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_stt_edge\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    argv = ["bash", "--norc", "-c", script, "bash", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_their_values() -> None:
    assert completed("stt-edge", "") == {*parsers(), "--help", "--version"}
    assert completed("stt-edge", "un") == {"unmute"}
    assert completed("stt-edge", "tail", "--") >= {"--follow", "--lines", "--json"}
    assert completed("stt-edge", "run", "--log-level", "w") == {"warning"}
    assert completed("stt-edge", "check-config", "/etc/") == set()  # files, which bash adds


# Files and maintainer scripts


@pytest.mark.parametrize(("source", "place", "mode"), tree.FILES)
def test_everything_that_is_copied_into_the_package_is_there(
    source: str, place: str, mode: int
) -> None:
    assert (ROOT / source).is_file()
    assert not place.startswith("/")
    assert bool(mode & 0o111) == ("bin/" in place)


def test_what_a_person_may_edit_is_a_conffile() -> None:
    conffiles = (DEBIAN / "conffiles").read_text(encoding="utf-8").split()
    copied = [f"/{place}" for _, place, _ in tree.FILES if place.startswith("etc/")]
    assert sorted(conffiles) == sorted(copied)


@pytest.mark.parametrize("name", [*tree.MAINTAINER_SCRIPTS, "stt-edge-extra"])
def test_a_script_of_the_package_has_no_mistake_the_shell_can_see(name: str) -> None:
    done = subprocess.run(
        ["sh", "-n", str(DEBIAN / name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (DEBIAN / name).read_text(encoding="utf-8").startswith("#!/bin/sh\n")


def test_the_package_is_laid_out_from_a_venv(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/stt-edge").write_text("#!/opt/stt-edge/bin/python\n", encoding="utf-8")
    package = tmp_path / "tree"
    tree.lay_out(package, target("trixie", "arm64"), venv, WHEN, ["libc6 (>= 2.34)"])
    assert (package / "usr/bin/stt-edge").readlink() == Path("/opt/stt-edge/bin/stt-edge")
    assert (package / "etc/stt-edge/credentials").stat().st_mode & 0o777 == 0o750
    fields = (package / "DEBIAN/control").read_text(encoding="utf-8")
    assert f"Version: {__version__}-1+deb13\n" in fields
    assert "libc6 (>= 2.34)" in fields
    sums = (package / "DEBIAN/md5sums").read_text(encoding="utf-8")
    assert "  usr/lib/systemd/system/stt-edge.service\n" in sums
    assert "etc/stt-edge.yaml" not in sums  # conffiles have sums of their own
    assert {path.lstat().st_mtime for path in package.rglob("*")} == {WHEN.timestamp()}


@pytest.mark.parametrize(("suite", "understood"), [("bookworm", False), ("trixie", True)])
def test_a_drop_in_for_a_later_systemd_is_in_force_only_where_there_is_one(
    tmp_path: Path, suite: str, understood: bool
) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    package = tmp_path / "tree"
    tree.lay_out(package, target(suite, "amd64"), venv, WHEN, [])
    for unit in ("stt-edge.service.d", "stt-edge@.service.d"):
        drop_in = package / "usr/lib/systemd/system" / unit / tree.NOTIFY_RELOAD
        assert drop_in.is_file() == understood
    assert (package / "usr/share/doc/stt-edge/examples" / tree.NOTIFY_RELOAD).is_file()


# Without a package


INSTALL: Final = (ROOT / "scripts" / "install").read_text(encoding="utf-8")


def test_an_installation_without_a_package_has_the_files_of_the_package() -> None:
    copied = {source for source, _ in re.findall(r'(?m)^    "(\S+) (/\S+)"$', INSTALL)}
    packaged = {source for source, _, _ in tree.FILES if not source.startswith("config/debian/")}
    assert copied | {"config/stt-edge.yaml"} == packaged
    assert "config/stt-edge.yaml" in INSTALL


def test_it_takes_away_what_it_makes(tmp_path: Path) -> None:
    pages.write(tmp_path, "2026-01-31")
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    listed = re.search(r"(?m)^PAGES=\((.+)\)$", INSTALL)
    assert listed is not None
    assert set(listed[1].split()) == made


@pytest.mark.parametrize("path", ["scripts/lib/debian_root.sh", "scripts/lib/deb/in_root.sh"])
def test_a_part_of_the_build_has_no_mistake_the_shell_can_see(path: str) -> None:
    argv = ["bash", "-n", str(ROOT / path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
