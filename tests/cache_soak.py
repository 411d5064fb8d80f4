"""Writers of the cache killed at random moments: `python -m tests.cache_soak [KILLS]`.

Afterwards every file that is there loads whole or is a miss, and what the killed left is gone.
"""

import os
import random
import secrets
import signal
import sys
import tempfile
import time

NAMES = 40
LARGEST = 200_000


def content(name: str, size: int) -> bytes:
    """Something that tells by itself which name it belongs to."""
    return (name.encode() * (size // len(name) + 1))[:size]


def writer() -> None:
    """Write for ever."""
    from graphad.compile import cache

    chosen = random.Random(os.getpid() ^ time.time_ns())
    while True:
        name = f"k{chosen.randrange(NAMES):03d}"
        cache.save(name, content(name, chosen.randrange(100, LARGEST)))


def run(kills: int, most: int) -> tuple[int, int]:
    """Kill so many writers, three at a time, with `most` bytes for the folder that
    GRAPHAD_CACHE_DIR names; how many files load, and how many temporary ones were left."""
    from graphad.compile import cache

    os.environ["GRAPHAD_CACHE_SIZE"] = str(most)
    chosen, alive, left = random.Random(5), [], 0
    for _ in range(kills):
        while len(alive) < 3:
            child = os.fork()
            if child == 0:
                try:
                    writer()
                finally:
                    os._exit(1)
            alive.append(child)
        time.sleep(chosen.uniform(0.0, 0.02))
        one = alive.pop(chosen.randrange(len(alive)))
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)
    for one in alive:
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)
    loaded = 0
    for k in range(NAMES):
        name = f"k{k:03d}"
        code = cache.load(name)
        loaded += code is not None
        assert code is None or code == content(name, len(code)), name
    with cache.opened() as place:
        left = [f for f in place.files() if f.name.endswith(".tmp")]
        for f in left:  # as if time had passed
            os.utime(place.path / f.name, (0, 0))
    cache.clear_counts()
    cache.save("last", secrets.token_bytes(100))
    with cache.opened() as place:
        assert not [f for f in place.files() if f.name.endswith(".tmp")]
        total = sum(f.size for f in place.files())
        assert total <= most + 4 * LARGEST, total
    return loaded, len(left)


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHAD_CACHE_DIR"] = folder
        started = time.time()
        loaded, left = run(kills, 1 << 22)
        print(f"{kills} kills in {time.time() - started:.0f} s: {loaded} of {NAMES} files load, "
              f"{left} unfinished ones were removed")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
