"""``scripts/faults --sabotage``: one protection out after the other, and who notices."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from scripts.lib.fault_kit.fault import ROOT, FaultError
from scripts.lib.fault_kit.tests_run import TIMED_OUT, run_pytest
from scripts.lib.sabotage.edit import VARIABLE, Sabotage, all_sabotages

_TIMEOUT_S: Final = 180.0
_FAILED: Final = 1
"""What pytest ends with where a test has failed; all else is no verdict."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one sabotage."""

    name: str
    noticed: bool
    remark: str
    """The test that noticed, else why nobody did."""


def sabotage(names: Sequence[str], *, as_json: bool) -> int:
    """Try the sabotages that are named, or all; print what came of them; return the exit code."""
    chosen = _chosen(names)
    guards = sorted({guard for each in chosen for guard in each.guards})
    _say(f"All {len(guards)} guards, with nothing taken out")
    whole = run_pytest([f"tests/{guard}" for guard in guards], "-n", "2")
    if whole.code != 0:
        print(whole.output[-4000:], file=sys.stderr)
        raise FaultError(f"tests fail with nothing taken out: {', '.join(whole.failed)}")
    findings = []
    for each in chosen:
        begun = time.monotonic()
        findings.append(_try(each))
        mark = "noticed" if findings[-1].noticed else "NOT NOTICED"
        took_s = time.monotonic() - begun
        _say(f"{each.name}: {mark} in {took_s:.0f} s: {findings[-1].remark}")
    print(
        json.dumps([asdict(each) for each in findings], indent=2) if as_json else _table(findings)
    )
    return 0 if all(finding.noticed for finding in findings) else 1


def _chosen(names: Sequence[str]) -> list[Sabotage]:
    there = {each.name: each for each in all_sabotages()}
    if unknown := [name for name in names if name not in there]:
        raise FaultError(f"no sabotage {', '.join(unknown)}; there are: {', '.join(there)}")
    _check_that_all_apply(there.values())
    return [there[name] for name in names] if names else list(there.values())


def _check_that_all_apply(sabotages: Iterable[Sabotage]) -> None:
    for each in sabotages:
        for module in each.modules:
            path = ROOT / "daemon" / f"{module.replace('.', '/')}.py"
            each.edited(module, path.read_text(encoding="utf-8"))


def _try(each: Sabotage) -> Finding:
    run = run_pytest(
        [f"tests/{guard}" for guard in each.guards],
        "--exitfirst",
        "-p",
        "scripts.lib.sabotage.plugin",
        variables={VARIABLE: each.name},
        timeout_s=_TIMEOUT_S,
    )
    if run.code == _FAILED and run.failed:
        return Finding(each.name, noticed=True, remark=run.failed[0])
    if run.code == TIMED_OUT:
        return Finding(each.name, noticed=True, remark="tests that do not end without it")
    if run.code == 0:
        return Finding(each.name, noticed=False, remark=f"{run.passed} tests pass without it")
    return Finding(each.name, noticed=False, remark=f"no verdict: {run.output[-1500:]}")


def _table(findings: Sequence[Finding]) -> str:
    rows = ["| taken out | result | by |", "|---|---|---|"]
    for finding in findings:
        mark = "noticed" if finding.noticed else "**not noticed**"
        rows.append(f"| {finding.name} | {mark} | `{finding.remark.splitlines()[0]}` |")
    return "\n".join(rows)


def _say(message: str) -> None:
    print(f"==> {message}", file=sys.stderr, flush=True)
