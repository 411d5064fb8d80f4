"""The command line: `python -m graphad demo | doctor | operations | cache [--clear]`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m graphad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train on real data and look inside")
    demo.add_argument("--epochs", type=int, default=60, help="passes over the training data")
    commands.add_parser("doctor", help="versions, BLAS, threads, cache folder, CPU features")
    commands.add_parser("operations", help="everything that is covered, in Markdown")
    cache = commands.add_parser("cache", help="list what is kept on disk")
    cache.add_argument("--clear", action="store_true", help="remove it")
    chosen = parser.parse_args(arguments)
    if chosen.command == "demo":
        from graphad.inspect.demo import run

        return run(chosen.epochs)
    if chosen.command == "doctor":
        from graphad.inspect.doctor import report

        print(report())
        return 0
    if chosen.command == "operations":
        from graphad.inspect.operations import text

        print(text(), end="")
        return 0
    return _cache(chosen.clear)


def _cache(clear: bool) -> int:
    from graphad.compile import cache

    folder = cache.folder()
    if folder is None:
        print("no cache folder: kernels live in memory only (set GRAPHAD_CACHE_DIR)")
        return 0
    if clear:
        print(f"removed {cache.clear()} files from {folder}")
        return 0
    files = cache.listed()
    for name, size in files:
        print(f"{size:>9,}  {name}")
    print(f"{len(files)} files, {sum(s for _, s in files):,} bytes in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
