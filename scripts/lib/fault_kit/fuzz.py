"""``python -m scripts.lib.fault_kit.fuzz TARGET SECONDS SEED FOLDER``: one target, for a while.

Prints JSON: how many cases were tried, how long the slowest took, and by how much memory grew.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from pathlib import Path
from typing import Final

from scripts.lib.fault_kit.fuzz_targets import open_target

_WARM_UP_CASES: Final = 50


def main(argv: list[str]) -> int:
    """Try cases until the time is over; a case that crashes can be made again from its seed."""
    name, seconds, seed, folder = argv[0], float(argv[1]), int(argv[2]), Path(argv[3])
    target = open_target(name, folder)
    cases, slowest_s, warm_kib = 0, 0.0, _peak_kib()
    end_s = time.monotonic() + seconds
    try:
        while (begun_s := time.monotonic()) < end_s:
            case = f"{name}/{seed + cases}"
            try:
                target.attempt(random.Random(case))
            except BaseException:
                print(f"crash with random.Random({case!r})", file=sys.stderr)
                raise
            slowest_s = max(slowest_s, time.monotonic() - begun_s)
            cases += 1
            if cases == _WARM_UP_CASES:
                warm_kib = _peak_kib()
    finally:
        target.close()
    found = {"cases": cases, "slowest_s": slowest_s, "grown_kib": _peak_kib() - warm_kib}
    print(json.dumps(found))
    return 0


def _peak_kib() -> int:
    # Not getrusage: its ru_maxrss begins with what the process that started this one has.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
