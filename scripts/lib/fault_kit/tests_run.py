"""Runs tests as part of a fault: the ones that stand in ``tests/`` anyway, with more rounds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from scripts.lib.fault_kit.fault import ROOT, FaultError

TIMEOUT_S: Final = 1800.0
TIMED_OUT: Final = -1
"""In place of an exit code."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """What pytest said."""

    code: int
    passed: int
    failed: tuple[str, ...]
    """Names of tests that failed or could not be set up, in their order."""
    skipped: tuple[str, ...]
    """Why tests were skipped."""
    figures: tuple[str, ...]
    """What tests have measured: the values of their properties named "figure"."""
    output: str


def run_pytest(
    tests: Sequence[str],
    *options: str,
    variables: Mapping[str, str] | None = None,
    path: Sequence[Path] = (),
    timeout_s: float = TIMEOUT_S,
) -> TestRun:
    """Run tests by their node ids, in a process of their own."""
    with tempfile.TemporaryDirectory(prefix="stt-edge-pytest-") as folder:
        report = Path(folder) / "report.xml"
        more = [
            "-q",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
            f"--basetemp={folder}/base",
            "-p",
            "no:cacheprovider",
        ]
        argv = [sys.executable, "-m", "pytest", *more, *options, *tests]
        places = [*path, ROOT, ROOT / "daemon"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
        code, output = _call(argv, {**environment, **(variables or {})}, timeout_s)
        return _read(report, code, output)


def hold(
    *tests: str, variables: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> str:
    """Run tests that all have to pass; return what they measured. Raises FaultError."""
    run = run_pytest(tests, variables=variables, timeout_s=timeout_s)
    if run.failed or run.code != 0:
        failed = ", ".join(run.failed) or f"pytest ended with {run.code}"
        raise FaultError(f"failed: {failed}\n{run.output[-4000:]}")
    if not run.passed:
        raise FaultError(f"nothing was tried: {'; '.join(run.skipped)}")
    note = f", {len(run.skipped)} skipped ({run.skipped[0]})" if run.skipped else ""
    return "; ".join((*run.figures, f"{run.passed} tests{note}"))


def _call(argv: list[str], environment: dict[str, str], timeout_s: float) -> tuple[int, str]:
    """Run a program in a process group of its own, which never outlives the call."""
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return TIMED_OUT, f"still running after {timeout_s:.0f} s\n{process.communicate()[0]}"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def _read(report: Path, code: int, output: str) -> TestRun:
    passed, failed, skipped = 0, [], []
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(_name(case))
        elif (skip := case.find("skipped")) is not None:
            skipped.append(re.sub(r"\s+", " ", skip.get("message", "")))
        else:
            passed += 1
    measured = [each for case in cases for each in case.iter("property")]
    figures = [each.get("value", "") for each in measured if each.get("name") == "figure"]
    return TestRun(code, passed, tuple(failed), tuple(skipped), tuple(figures), output)


def _name(case: ET.Element) -> str:
    place = case.get("classname", "").replace(".", "/")
    return f"{place}.py::{case.get('name', '')}"
