"""`python -m bench [--only NAME] [--quick]`: run the rows, print one table, write results.md."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import pathlib
import platform

from bench import graph_size, rows, startup
from bench.measure import measure, shown

HERE = pathlib.Path(__file__).parent


def versions() -> str:
    """Versions of graphad and of the peers; a peer that is missing is named."""
    found = []
    for name in ("graphad", "numba", "numpy", "jax"):
        try:
            found.append(f"{name} {__import__(name).__version__}")
        except ImportError:
            found.append(f"{name} missing")
    return ", ".join(found)


def table(measured) -> list[str]:
    """The rows of the table, in Markdown."""
    lines = ["| row | graphad | best peer | graphad / best | others |", "|---|---|---|---|---|"]
    for row in measured:
        peer, seconds = row.best_peer
        rest = [f"{n} {shown(s)}" for n, s in row.seconds.items() if n not in ("graphad", peer)]
        lines.append(
            f"| {row.name} | {shown(row.seconds['graphad'])} | {peer} {shown(seconds)} "
            f"| {row.ratio:.2f} | {', '.join(rest)} |"
        )
    return lines


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*rows.GROUPS, "startup", "size"])
    parser.add_argument("--quick", action="store_true", help="short repeats; nothing is written")
    chosen = parser.parse_args()
    groups = [chosen.only] if chosen.only else [*rows.GROUPS, "startup", "size"]
    measured = []
    for name in groups:
        for row in rows.GROUPS[name]() if name in rows.GROUPS else []:
            print(f"measuring {row.name} ...", flush=True)
            measured.append(measure(row, 0.3 if chosen.quick else 3.0))
    lines = [
        f"Measured {datetime.date.today()} on {platform.processor() or platform.machine()}, "
             f"{platform.system()}: {versions()}.", "", *table(measured)]  # fmt: skip
    ratios = [r.seconds["graphad"] / r.seconds["jax"] for r in measured if "jax" in r.seconds]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines += ["", f"Warm calls, graphad / JAX in geometric mean: {mean:.2f}."]
    starts = []
    if "startup" in groups and rows.jax_module():
        starts = startup.rows(1 if chosen.quick else 3)
        lines += ["", "| start | graphad | jax | graphad / jax |", "|---|---|---|---|"]
        lines += [f"| {n} | {g:.2f} s | {j:.2f} s | {g / j:.2f} |" for n, g, j in starts]
    if "size" in groups:
        lines += ["", "| nodes | nodes of the gradient | trace, differentiate, print | µs a node |"]
        lines += ["|---|---|---|---|"]
        for nodes, total, seconds in graph_size.curve():
            each = seconds / (nodes + total) * 1e6
            lines.append(f"| {nodes:,} | {total:,} | {seconds:.2f} s | {each:.0f} |")
    print("\n".join(lines))
    if not chosen.quick and not chosen.only:
        (HERE / "results.md").write_text("# Results\n\n" + "\n".join(lines) + "\n")
        data = {"date": str(datetime.date.today()), "versions": versions(),
                "rows": [{"name": r.name, "seconds": r.seconds} for r in measured],
                "starts": starts}  # fmt: skip
        (HERE / "results.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
