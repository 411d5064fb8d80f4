"""results.md from what was measured on each machine: results_512.json, results_256.json."""

from __future__ import annotations

import json
import math
import pathlib

from bench.measure import Row, shown

HERE = pathlib.Path(__file__).parent


def cpu() -> dict:
    """The CPU by LLVM's name, and the bits of its vectors as kernels use them."""
    from graphad.emit.target import host

    return {"cpu": host().cpu, "bits": host().bits}


def mean(ratios: list[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def write() -> None:
    """Write results.md from every file of results, the widest vectors first."""
    files = sorted(HERE.glob("results_*.json"), reverse=True)
    machines = [json.loads(f.read_text()) for f in files]
    lines = ["# Results", "", "Times of graphad, of its fastest peer, and their ratio; ✗ marks a "
             "missed target. All peers are in the JSON files.", ""]  # fmt: skip
    for m in machines:
        lines.append(f"- **{m['bits']} bits**: {m['cpu']}, {m['threads']} threads, {m['date']}: "
                     f"{m['versions']}.")  # fmt: skip
    lines += ["", *warm(machines), "", *summary(machines), "", *starts(machines), *sizes(machines)]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")


def _rows(machine: dict) -> dict[str, Row]:
    return {r["name"]: Row(jobs={}, **r) for r in machine["rows"]}


def table(rows: list[Row]) -> list[str]:
    """The rows of one machine, with all peers."""
    lines = ["| row | target | graphad | best peer | ratio | others |", "|---|---|---|---|---|---|"]
    for row in rows:
        best, seconds = row.best_peer[0], row.seconds
        rest = [f"{n} {shown(s)}" for n, s in seconds.items() if n not in ("graphad", best)]
        lines.append(f"| {row.name} | {_target(row)} | {_cells(row)} | {', '.join(rest)} |")
    return lines


def _target(row: Row) -> str:
    return f"{row.target:g}" + (f" or 1.25 {row.floor}" if row.floor else "")


def warm(machines: list[dict]) -> list[str]:
    """The table of warm calls, a group of columns for each machine."""
    found = [_rows(m) for m in machines]
    heads = [f"{m['bits']} bits: graphad | best peer | ratio" for m in machines]
    lines = [
        f"| row | target | {' | '.join(heads)} |",
        "|---|---|" + "---|---|---|" * len(machines),
    ]
    for name in dict.fromkeys(n for rows in found for n in rows):
        row = next(rows[name] for rows in found if name in rows)
        cells = [_cells(rows.get(name)) for rows in found]
        lines.append(f"| {name} | {_target(row)} | {' | '.join(cells)} |")
    return lines


def _cells(row: Row | None) -> str:
    if row is None:
        return " | | "
    peer, seconds = row.best_peer
    met = "" if row.met else " ✗"
    return f"{shown(row.seconds['graphad'])} | {peer} {shown(seconds)} | {row.ratio:.2f}{met}"


def summary(machines: list[dict]) -> list[str]:
    """A line for each machine: the mean against JAX, and the targets met."""
    lines = []
    for m in machines:
        rows = list(_rows(m).values())
        jax = [r.seconds["graphad"] / r.seconds["jax"] for r in rows if "jax" in r.seconds]
        met = sum(r.met for r in rows)
        against = (f"warm calls, graphad / JAX in geometric mean {mean(jax):.2f} "
                   f"({len(jax)} rows); " if jax else "")  # fmt: skip
        lines.append(f"- {m['bits']} bits: {against}targets met {met} of {len(rows)}.")
    return lines


def starts(machines: list[dict]) -> list[str]:
    """The tables of cold compiles and warm starts."""
    lines = []
    for m in machines:
        if not m["starts"]:
            continue
        lines += [f"## First calls, {m['bits']} bits", "",
                  "| program | cold: graphad | JAX | ratio | warm start: graphad | JAX | ratio |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        for name, cold, again in m["starts"]:
            cells = [f"{a:.3f} s | {b:.3f} s | {a / b:.2f}" for a, b in (cold, again)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        ratios = [[a / b for a, b in (s[k] for s in m["starts"])] for k in (1, 2)]
        lines += ["", f"Cold compile, graphad / JAX: {mean(ratios[0]):.2f} in geometric mean, at "
                  f"most {max(ratios[0]):.2f}. Warm start: {mean(ratios[1]):.2f}, at most "
                  f"{max(ratios[1]):.2f}."]  # fmt: skip
        if "import" in m:
            lines.append(f"`import graphad`: {m['import']:.2f} s.")
        lines.append("")
    return lines


def sizes(machines: list[dict]) -> list[str]:
    """The tables of growing graphs."""
    lines = []
    for m in machines:
        if not m.get("sizes"):
            continue
        lines += [f"## Growing graphs, {m['bits']} bits", "",
                  "| nodes | nodes of the gradient | trace, differentiate, print | µs a node |",
                  "|---|---|---|---|"]  # fmt: skip
        for nodes, total, seconds in m["sizes"]:
            each = seconds / (nodes + total) * 1e6
            lines.append(f"| {nodes:,} | {total:,} | {seconds:.2f} s | {each:.0f} |")
        lines.append("")
    return lines[:-1]
