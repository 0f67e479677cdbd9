"""How the command line finds commands, and what becomes of their failures."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stt_edge import __version__
from stt_edge.cli.main import COMMANDS, Command, main

ROOT = Path(__file__).resolve().parents[2]
WITH_PROBE = """
import sys
from stt_edge.cli.main import COMMANDS, Command, main
COMMANDS["probe"] = Command("tests.cli.probe", "what the tests ask for")
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Command("tests.cli.probe", "what the tests ask for")
    monkeypatch.setitem(COMMANDS, "probe", command)


def start(*arguments: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    """Start the program, the probe among its commands, as a process of its own."""
    path = os.pathsep.join([str(ROOT / "daemon"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, **kwargs.pop("environment", {})}
    command = [sys.executable, "-c", WITH_PROBE, *arguments]
    return subprocess.Popen(command, env=environment, **kwargs)


def test_a_command_is_run_with_its_arguments_and_its_exit_code_is_returned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["probe", "fine"]) == 3
    assert capsys.readouterr().out == "probe fine\n"


def test_an_error_of_ours_is_told_with_its_remedy_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["probe", "fail"]) == 75
    told = capsys.readouterr()
    assert told.err == "stt-edge: the broker\\x1b[2J sleeps.\nWake it.\n"
    assert told.out == ""


def test_problems_of_a_configuration_are_told_as_compilers_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["probe", "config"]) == 78
    assert capsys.readouterr().err == "a.yaml:1:1: x\na.yaml:2:3: bad\n"


def test_an_interrupt_is_130_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "interrupt"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_the_program_is_not_dressed_up() -> None:
    with pytest.raises(OSError, match="somewhere within"):
        main(["probe", "bug"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["probe"], "the following arguments are required: what"),
        (["probe", "fine", "--number", "x"], "invalid int value: 'x'"),
        (["probe", "fine", "--num", "1"], "unrecognized arguments: --num 1"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["prob"], "there is no command 'prob'; did you mean probe?"),
        (["check_config"], "there is no command 'check_config'; did you mean check-config?"),
        (["Transcribe"], "there is no command 'Transcribe'; did you mean transcribe?"),
        (["x\x1b[2J"], "there is no command 'x\\x1b[2J'; stt-edge --help lists what there is."),
        ([""], "there is no command ''; stt-edge --help lists what there is."),
        ([], "commands:"),
    ],
)
def test_wrong_usage_is_2_and_is_told_on_standard_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stt-edge {__version__}\n"


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        assert f"  {name:12}  {command.summary}" in lines


def test_the_help_of_a_command_has_its_summary_and_its_epilog(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["probe", "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: stt-edge probe [-h]")
    assert "What the tests ask for." in told
    assert told.endswith("examples:\n  stt-edge probe fine\n")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "probe"])
def test_every_command_in_the_table_has_its_module_and_its_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importlib.util.find_spec(COMMANDS[name].module)
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: stt-edge {name}")


def test_help_imports_no_commands_module() -> None:
    script = (
        "import sys\nfrom stt_edge.cli.main import main\nmain(['--help'])\n"
        "print('LOADED', *sorted(m for m in sys.modules if m.startswith('stt_edge')))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "daemon")}
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    loaded = output.stdout.partition("LOADED ")[2].split()
    assert loaded == [
        "stt_edge",
        "stt_edge.cli",
        "stt_edge.cli.common",
        "stt_edge.cli.main",
        "stt_edge.clock",
        "stt_edge.errors",
        "stt_edge.frozen",
    ]


def test_a_reader_that_has_had_enough_ends_the_program_quietly() -> None:
    with start("probe", "chatter", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


def test_a_broken_pipe_that_is_not_standard_output_is_not_taken_for_it() -> None:
    with start("probe", "socket", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"of a socket" in told


@pytest.mark.parametrize("what", ["fine", "chatter", "odd"])
def test_a_full_disk_behind_standard_output_is_told(what: str) -> None:
    with (
        open("/dev/full", "wb") as full,  # noqa: PTH123
        start("probe", what, stdout=full, stderr=subprocess.PIPE) as process,
    ):
        _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert told == b"stt-edge: standard output: No space left on device.\nSend it somewhere else.\n"


def test_a_closed_standard_output_is_no_failure() -> None:
    with start("probe", "fine", stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1)) as process:
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (3, b"")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_no_file_name_and_no_transcript_is_too_odd_to_print(encoding: str) -> None:
    with start(
        "probe", "odd", stdout=subprocess.PIPE, environment={"PYTHONIOENCODING": encoding}
    ) as process:
        output, _ = process.communicate(timeout=20)
    lines = output.decode(encoding).splitlines()
    assert lines[0].startswith("caf\\udce9.wav ")
    assert json.loads(lines[1]) == {"file": "caf\udce9.wav"}
    assert process.returncode == 3


def test_progress_is_one_line_rewritten_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    with start(
        "probe", "progress", stdout=subprocess.DEVNULL, stderr=theirs, environment={"TERM": "xterm"}
    ):
        os.close(theirs)
        seen = read_all(ours)
    lines = seen.split(b"\r\x1b[K")
    assert lines[1] == b"1/2 a .wav"
    assert lines[2] == b"2/2 " + b"b" * 75
    assert lines[3] == b"said between\r\n"
    assert lines[4:] == [b"left over", b""]


@pytest.mark.parametrize("terminal", ["dumb", None])
def test_progress_is_nothing_where_nobody_watches(terminal: str | None) -> None:
    ours, theirs = pty.openpty()
    aim = theirs if terminal else subprocess.PIPE
    with start(
        "probe",
        "progress",
        stdout=subprocess.DEVNULL,
        stderr=aim,
        environment={"TERM": terminal or "xterm"},
    ) as process:
        os.close(theirs)
        seen = process.communicate(timeout=20)[1] if terminal is None else read_all(ours)
    assert seen.split() == [b"said", b"between"]


def read_all(descriptor: int) -> bytes:
    """Return what comes through a terminal until the program at its other end is gone."""
    seen = b""
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:  # EIO: the other end is closed
            data = b""
        if not data:
            os.close(descriptor)
            return seen
        seen += data
