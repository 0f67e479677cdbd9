"""What is missing is added by whoever installed the program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stt_edge import extras


def test_in_a_virtual_environment_of_ones_own_pip_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/pi/venv")
    assert extras.install_command("aws") == 'pip install "stt-edge[aws]"'


def test_in_the_package_its_own_tool_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "stt-edge-extra"
    monkeypatch.setattr(sys, "prefix", "/opt/stt-edge")
    monkeypatch.setattr(extras, "_TOOL", tool)
    # scripts/install puts the program there too, without the tool.
    assert extras.install_command("aws") == 'pip install "stt-edge[aws]"'
    tool.touch()
    assert extras.install_command("aws") == "sudo stt-edge-extra aws"
