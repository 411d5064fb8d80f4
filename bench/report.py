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
        floor = f" or 1.25 {row.floor}" if row.floor else ""
        cells = [_cells(rows.get(name)) for rows in found]
        lines.append(f"| {name} | {row.target:g}{floor} | {' | '.join(cells)} |")
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
        against = f"{mean(jax):.2f} ({len(jax)} rows)"
        lines.append(f"- {m['bits']} bits: warm calls, graphad / JAX in geometric mean "
                     f"{against}; targets met {met} of {len(rows)}.")  # fmt: skip
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
