"""``pytest -p scripts.lib.sabotage.plugin``: tests and all they start suffer a sabotage."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

from scripts.lib.sabotage.edit import VARIABLE, suffer

_SITE: Final = Path(__file__).with_name("site")
_ROOT: Final = Path(__file__).resolve().parents[3]

_start = subprocess.Popen.__init__


@wraps(_start)
def _start_sabotaged(self: Any, *args: Any, **kwargs: Any) -> None:
    """Start a process that imports ``site/sitecustomize.py`` if it is a Python."""
    environ: Mapping[str, str] | None = kwargs.get("env")
    environ = dict(os.environ if environ is None else environ)
    paths = [str(_SITE), str(_ROOT), *environ.get("PYTHONPATH", "").split(os.pathsep)]
    kwargs["env"] = {
        **environ,
        VARIABLE: os.environ[VARIABLE],
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    _start(self, *args, **kwargs)


if suffer() is not None:
    subprocess.Popen.__init__ = _start_sabotaged  # type: ignore[method-assign]
