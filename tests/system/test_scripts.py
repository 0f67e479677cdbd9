"""The scripts a person runs can be run, and name nobody's machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = sorted(
    path for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"] if path.is_file()
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_and_says_how_it_is_run(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!")


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "scripts/lib/setup.sh"], ids=lambda p: p.name)
def test_a_shell_script_has_no_mistake_the_shell_can_see(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    if "python" in first:
        pytest.skip("it is a Python program, which ruff and mypy look at")
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_script_names_a_host_but_this_machine() -> None:
    files = [path for path in (ROOT / "scripts").rglob("*") if path.suffix != ".pyc"]
    named = {
        str(path.relative_to(ROOT)): found
        for path in files
        if path.is_file()
        and (
            found := re.findall(
                r"\w+://(?!127\.0\.0\.1|localhost)[\w.-]+", path.read_text(encoding="utf-8")
            )
        )
    }
    assert named == {}


def test_what_is_run_for_every_change_is_what_the_readme_tells_people_to_run() -> None:
    assert "exec scripts/test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "\n    scripts/test\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_demonstration_needs_no_package_of_the_tests() -> None:
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('pytest', 'pytest_asyncio', 'hypothesis')))\n"
        "import scripts.lib.demo\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
