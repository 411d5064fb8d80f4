"""`python -m bench [--only GROUP] [--quick] [--threads 1]`: one table, and results.md."""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from bench import graph_size, peers, report, startup
from bench.measure import Row, measure
from bench.pytensor_peer import Worker

HERE = pathlib.Path(__file__).parent
OTHERS = ("startup", "size")
ONE_THREAD = ("transcendental", "elementwise")  # measured with one thread, too


def on_one_thread(name: str, quick: bool) -> list[Row]:
    """The rows of a group, measured in a process that has one core."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.json"
        options = ["--quick"] * quick + ["--threads", "1", "--only", name, "--save", str(path)]
        subprocess.run([sys.executable, "-m", "bench", *options], check=True)
        return [Row(jobs={}, **(r | {"name": f"{r['name']}, 1 thread"}))
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
    data = report.cpu() | {
        "threads": peers.threads(), "date": str(datetime.date.today()),
        "versions": peers.versions(),
        "rows": [_plain(r) for r in measured], "starts": [], "sizes": [],
    }  # fmt: skip
    if measured:
        print("\n".join([*report.table(measured), "", *report.summary([data])]))
    if "startup" in groups and peers.module("jax"):
        data["starts"] = startup.rows(1 if chosen.quick else 3)
        data["import"] = startup.import_seconds()
        print("\n".join(report.starts([data])))
    if "size" in groups:
        data["sizes"] = graph_size.curve()
        print("\n".join(report.sizes([data])))
    if chosen.save:
        chosen.save.write_text(json.dumps(data["rows"]))
    if not chosen.quick and not chosen.only and not chosen.threads:
        path = HERE / f"results_{data['bits']}.json"
        path.write_text(json.dumps(data, indent=1) + "\n")
        report.write()


def _plain(row: Row) -> dict:
    return {"name": row.name, "target": row.target, "floor": row.floor, "by_hand": row.by_hand,
            "seconds": row.seconds}  # fmt: skip


if __name__ == "__main__":
    main()
