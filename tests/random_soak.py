"""Many more random programs: `python -m tests.random_soak --passes 50000 --compiled 2000`."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from hypothesis import HealthCheck, Phase, given, seed, settings
from random_programs import programs
from test_random_graphs import check_program


def soak(count: int, compiled: bool) -> None:
    """Check this many random programs; raises at the first that fails."""
    quiet = {"deadline": None, "database": None, "phases": [Phase.generate]}

    @seed(int(time.time()))
    @settings(max_examples=count, suppress_health_check=list(HealthCheck), **quiet)
    @given(programs())
    def check(program):
        check_program(*program, compiled=compiled)

    start = time.perf_counter()
    check()
    what = "compiled" if compiled else "through every pass"
    print(f"{count} programs {what}: no difference, {time.perf_counter() - start:.0f} s")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=50_000)
    parser.add_argument("--compiled", type=int, default=2_000)
    chosen = parser.parse_args()
    if chosen.passes:
        soak(chosen.passes, False)
    if chosen.compiled:
        soak(chosen.compiled, True)


if __name__ == "__main__":
    main()
