"""`python -m bench [--only GROUP] [--quick] [--threads 1]`: one table, written to results.md."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

from bench import graph_size, peers, startup
from bench.measure import Row, measure, shown
from bench.pytensor_peer import Worker

HERE = pathlib.Path(__file__).parent
OTHERS = ("startup", "size")
ONE_THREAD = ("transcendental", "elementwise")  # measured with one thread, too


def table(measured: list[Row]) -> list[str]:
    """The rows of the table, in Markdown."""
    lines = ["| row | graphad | best peer | graphad / best | target | others |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in measured:
        peer, seconds = row.best_peer
        rest = [f"{n} {shown(s)}" for n, s in row.seconds.items() if n not in ("graphad", peer)]
        met = "" if row.met else " ✗"
        floor = f" or 1.25 {row.floor}" if row.floor else ""
        lines.append(
            f"| {row.name} | {shown(row.seconds['graphad'])} | {peer} {shown(seconds)} "
            f"| {row.ratio:.2f}{met} | {row.target:g}{floor} | {', '.join(rest)} |"
        )
    return lines


def mean(ratios: list[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def starts(repeats: int) -> tuple[list[str], list]:
    """The table of cold compiles and warm starts."""
    found = startup.rows(repeats)
    lines = ["| program | cold: graphad | JAX | ratio | warm start: graphad | JAX | ratio |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, cold, warm in found:
        cells = [f"{a:.3f} s | {b:.3f} s | {a / b:.2f}" for a, b in (cold, warm)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    ratios = [[c[0] / c[1] for _, c, _ in found], [w[0] / w[1] for _, _, w in found]]
    lines += ["", f"Cold compile, graphad / JAX: {mean(ratios[0]):.2f} in geometric mean, at most "
              f"{max(ratios[0]):.2f}. Warm start: {mean(ratios[1]):.2f}, at most "
              f"{max(ratios[1]):.2f}, the slowest {max(w[0] for _, _, w in found):.2f} s. "
              f"`import graphad`: {startup.import_seconds():.2f} s."]  # fmt: skip
    return lines, found


def sizes() -> list[str]:
    """The table of growing graphs."""
    lines = ["| nodes | nodes of the gradient | trace, differentiate, print | µs a node |",
             "|---|---|---|---|"]  # fmt: skip
    for nodes, total, seconds in graph_size.curve():
        each = seconds / (nodes + total) * 1e6
        lines.append(f"| {nodes:,} | {total:,} | {seconds:.2f} s | {each:.0f} |")
    return lines


def on_one_thread(name: str, quick: bool) -> list[Row]:
    """The rows of a group, measured in a process that has one core."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.json"
        options = ["--quick"] * quick + ["--threads", "1", "--only", name, "--save", str(path)]
        subprocess.run([sys.executable, "-m", "bench", *options], check=True)
        return [Row(f"{r['name']}, 1 thread", {}, target=r["target"], seconds=r["seconds"])
                for r in json.loads(path.read_text())]  # fmt: skip


def warm(groups: list[str], budget: float) -> list[Row]:
    """Measure the rows of the groups."""
    from bench.rows import GROUPS

    worker = Worker() if peers.pytensor_version() else None
    measured = []
    for name in groups:
        if name in ONE_THREAD and peers.threads() > 1:
            measured += on_one_thread(name, budget < 1)
            if name == "transcendental":
                continue
        for row in GROUPS[name]() if name in GROUPS else []:
            start = time.perf_counter()
            if row.jobs:
                measure(row, budget)
            other = worker.seconds(row.name, 20) if worker else None
            if other is not None:
                row.seconds["pytensor"] = other
            took = time.perf_counter() - start
            print(f"{row.name}: {row.ratio:.2f} of {row.best_peer[0]} ({took:.1f} s)", flush=True)
            measured.append(row)
    return measured


def main() -> None:
    """Measure and write."""
    from bench.rows import GROUPS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*GROUPS, *OTHERS])
    parser.add_argument("--quick", action="store_true", help="short repeats; nothing is written")
    parser.add_argument("--threads", type=int, choices=[1], help="one core for everybody")
    parser.add_argument("--save", type=pathlib.Path, help="write the rows to this JSON file")
    chosen = parser.parse_args()
    if chosen.threads:
        peers.one_thread()
    groups = [chosen.only] if chosen.only else [*GROUPS, *OTHERS]
    measured = warm(groups, 0.3 if chosen.quick else 1.5)
    count = peers.threads()
    lines = [f"Measured {datetime.date.today()} on {platform.machine()}, {platform.system()}, "
             f"{count} thread{'s' * (count > 1)}: {peers.versions()}.", ""]  # fmt: skip
    if measured:
        lines += table(measured)
    against = [r.seconds["graphad"] / r.seconds["jax"] for r in measured if "jax" in r.seconds]
    if against:
        lines += ["", f"Warm calls, graphad / JAX in geometric mean: {mean(against):.2f} "
                  f"({len(against)} rows). Targets met: "
                  f"{sum(r.met for r in measured)} of {len(measured)}."]  # fmt: skip
    found: list = []
    if "startup" in groups and peers.module("jax"):
        more, found = starts(1 if chosen.quick else 3)
        lines += ["", *more]
    if "size" in groups:
        lines += ["", *sizes()]
    print("\n".join(lines))
    plain = [{"name": r.name, "target": r.target, "seconds": r.seconds} for r in measured]
    if chosen.save:
        chosen.save.write_text(json.dumps(plain))
    if not chosen.quick and not chosen.only:
        name = "results" if count > 1 else "results_1_thread"
        (HERE / f"{name}.md").write_text("# Results\n\n" + "\n".join(lines) + "\n")
        data = {"date": str(datetime.date.today()), "versions": peers.versions(),
                "rows": plain, "starts": found}  # fmt: skip
        (HERE / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
