"""`python -m bench.dieharder words|uniforms`: dieharder's whole battery on a stream of ours.

R. G. Brown's dieharder (Debian's package `dieharder`) reads 32-bit words from a pipe: the words of
Philox as they are, or f64 uniforms turned back to their upper 32 bits. Keys are folded from one,
so it goes through many streams. Prints dieharder's table, then how many tests passed.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import subprocess
import threading

import numpy as np

import graphad as ga

CHUNK = 1 << 20
VERDICTS = ("PASSED", "WEAK", "FAILED")


def words(key):
    """Raw words of 32 bits."""
    return ga.random.bits(key, (CHUNK,), "uint32")


def uniforms(key):
    """Uniforms in [0, 1) turned back to bits."""
    return np.floor(ga.random.uniform(key, (CHUNK,)) * 2.0**32).astype(np.uint32)


STREAMS = {"words": words, "uniforms": uniforms}


def feed(pipe, stream, seed: int) -> None:
    """Write chunk after chunk until the reader has enough."""
    draw, base, k = ga.function(STREAMS[stream]), ga.random.key(seed), 0
    try:
        while True:
            pipe.write(draw(ga.random.fold_in(base, k)).tobytes())
            k += 1
    except (BrokenPipeError, ValueError):
        pass


def main() -> None:
    """Run the battery."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stream", choices=STREAMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", help="one test's number, instead of all")
    chosen = parser.parse_args()
    if shutil.which("dieharder") is None:
        raise SystemExit("dieharder is not installed: apt-get install dieharder")
    what = ["-d", chosen.test] if chosen.test else ["-a"]
    run = subprocess.Popen(["dieharder", *what, "-g", "200"], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=False)  # fmt: skip
    threading.Thread(target=feed, args=(run.stdin, chosen.stream, chosen.seed), daemon=True).start()
    counts: collections.Counter[str] = collections.Counter()
    assert run.stdout is not None
    for line in run.stdout:
        text = line.decode(errors="replace").rstrip()
        print(text, flush=True)
        counts.update(v for v in VERDICTS if text.rstrip().endswith(v))
    print(", ".join(f"{counts[v]} {v.lower()}" for v in VERDICTS))


if __name__ == "__main__":
    main()
