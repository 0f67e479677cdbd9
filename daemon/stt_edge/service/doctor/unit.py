"""Check ``unit``: installed, enabled, running, watched over, and shut in as it was shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from stt_edge.service.doctor.case import SYSTEMD, Case, Unit
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well

_SANDBOX: Final = {
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
}
"""What the shipped unit asks for, by the names and in the words of ``systemctl show``."""
_AS_SHIPPED: Final = {"OOMPolicy": "continue", "KillMode": "mixed", "Restart": "always"}
_CONFIG_EXIT: Final = "78"


def check_unit(case: Case) -> Iterator[Finding]:
    """Look at the unit as systemd has loaded it."""
    unit = case.unit
    if not SYSTEMD.is_dir():
        yield well("unit", "systemd is not in charge here.")
    elif not unit.properties:
        remedy = "systemctl is-system-running, systemctl status"
        yield failing("unit", "systemd does not answer.", remedy)
    elif not unit.installed:
        yield _not_installed(unit)
    else:
        yield from examine_unit(unit)


def examine_unit(unit: Unit) -> Iterator[Finding]:
    """Look at a unit that is there."""
    properties = unit.properties
    if properties.get("LoadState") != "loaded":
        message = f"{unit.name} cannot be used: {properties.get('LoadError') or 'see its file'}."
        yield failing("unit", message, f"systemd-analyze verify {properties.get('FragmentPath')}")
        return
    yield _state(unit)
    if properties.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        remedy = f"sudo systemctl enable {unit.name}"
        yield doubtful("unit", f"{unit.name} is not enabled: no start at boot.", remedy)
    if properties.get("NeedDaemonReload") == "yes":
        remedy = f"sudo systemctl daemon-reload && sudo systemctl restart {unit.name}"
        yield doubtful("unit", "Its files have changed since systemd read them.", remedy)
    if properties.get("WatchdogUSec") in ("0", "infinity", "", None):
        message = "No watchdog is set: a service that hangs would not be restarted."
        yield doubtful("unit", message, _what_to_edit(unit, "WatchdogSec=30s"))
    yield from _sandbox(unit)


def changed(properties: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return which properties are not as expected; what systemd does not tell is passed over."""
    return [
        f"{name}={properties[name]}"
        for name, value in expected.items()
        if name in properties and properties[name] != value
    ]


def _state(unit: Unit) -> Finding:
    properties = unit.properties
    state, sub = properties.get("ActiveState", "?"), properties.get("SubState", "?")
    if unit.active:
        restarts = properties.get("NRestarts", "0")
        again = f", restarted {restarts} times" if restarts != "0" else ""
        return well("unit", f"{unit.name} is {state} ({sub}){again}.")
    code = properties.get("ExecMainStatus", "")
    if state == "failed" and code == _CONFIG_EXIT:
        message = f"{unit.name} has failed: its configuration is wrong, and it waits for another."
        return failing("unit", message, f"stt-edge check-config, then systemctl start {unit.name}")
    message = f"{unit.name} is {state} ({sub}, {properties.get('Result', '?')}, exit code {code})."
    return failing("unit", message, f"journalctl -u {unit.name} -n 50 says why.")


def _sandbox(unit: Unit) -> Iterator[Finding]:
    drop_ins = ", ".join(unit.properties.get("DropInPaths", "").split())
    by = f" by {drop_ins}" if drop_ins else ""
    remedy = f"systemctl cat {unit.name}; keep what you have reason for."
    weaker = ", ".join(changed(unit.properties, _SANDBOX))
    other = ", ".join(changed(unit.properties, _AS_SHIPPED))
    if weaker:
        message = f"Its sandbox is not the one that is shipped{by}: {weaker}."
        yield doubtful("unit", message, remedy)
    if other:
        yield doubtful("unit", f"It is not run as it is shipped{by}: {other}.", remedy)
    if not weaker and not other:
        added = f"; drop-ins add to it: {drop_ins}" if drop_ins else ""
        yield well("unit", f"Its sandbox is the one that is shipped{added}.")


def _not_installed(unit: Unit) -> Finding:
    return doubtful(
        "unit",
        f"There is no {unit.name}: nothing is started at boot.",
        "Install the package, or see 'Install it as a service' in the README.",
    )


def _what_to_edit(unit: Unit, line: str) -> str:
    return f"sudo systemctl edit {unit.name}, and write under [Service]: {line}"
