"""The folder of compiled kernels: one file an object, named by the hash of all that made it.

A file is a digest of its name and content, then machine code; whatever does not check out is a
miss, and nothing is unpickled. Where no folder can be trusted (see folder.py) or written, kernels
live in memory only. `GRAPHAD_CACHE_SIZE` (512M) limits it: what was used longest ago goes.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from graphad.compile.folder import Folder, trusted
from graphad.emit.source import KernelSource
from graphad.emit.target import Target, host
from graphad.errors import explain
from graphad.lower.order import BLOCK, LANES

MAGIC = b"graphad3"
HEAD = len(MAGIC) + 32
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
DEFAULT_SIZE = "512M"

# What gives kernel sources their meaning, with all of bodies/.
MEANING = (
    *("compile/" + n for n in ("instructions.py", "blocks.py", "words.py", "translate.py",
                               "analysis.py", "machine_code.py", "functions.py")),
    "emit/target.py", "emit/source.py",
)  # fmt: skip


@lru_cache(maxsize=16)
def build_key(target: Target) -> str:
    """What every kernel depends on besides its source: LLVM's version, the CPU, the platform."""
    import llvmlite

    return "|".join(("3", llvmlite.__version__, target.key, sys.platform))


@lru_cache(maxsize=1)
def language_key() -> str:
    """The text of the modules that give kernel sources their meaning."""
    root = Path(__file__).parents[1]
    files = [root / n for n in MEANING] + sorted((root / "bodies").glob("*.py"))
    texts = [repr((BLOCK, LANES)).encode(), *(f.read_bytes() for f in files)]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def hash_of(source: KernelSource, target: Target | None = None) -> str:
    """The name of a kernel: the hash of its source and of all else that changes its code."""
    whole = "\0".join((build_key(target or host()), language_key(), source.text))
    return hashlib.sha256(whole.encode()).hexdigest()[:40]


def folder() -> Path | None:
    """The cache folder, made if needed; None where there is none that can be trusted."""
    chosen = os.environ.get("GRAPHAD_CACHE_DIR")
    try:
        if chosen:
            path = Path(chosen)
        else:
            import platformdirs

            path = Path(platformdirs.user_cache_dir("graphad"))
        return trusted(path)
    except (OSError, RuntimeError):
        return None


def limit() -> int:
    """How many bytes may be kept: `GRAPHAD_CACHE_SIZE`."""
    chosen = os.environ.get("GRAPHAD_CACHE_SIZE") or DEFAULT_SIZE
    found = re.fullmatch(r"(\d+)([KMG]?)", chosen.strip().upper())
    if found is None:
        raise ValueError(explain(
            "GRAPHAD_CACHE_SIZE", "this is no size", expected="bytes, or a number with K, M or G",
            got=chosen, fix=f"GRAPHAD_CACHE_SIZE={DEFAULT_SIZE}",
        ))  # fmt: skip
    return int(found[1]) * SIZES[found[2]]


@contextmanager
def opened() -> Iterator[Folder | None]:
    """The folder, open; None where there is none that can be trusted."""
    path = folder()
    try:
        found = None if path is None else Folder(path)
    except OSError:
        found = None
    try:
        yield found
    finally:
        if found is not None and found.at is not None:
            os.close(found.at)


def digest(name: str, code: bytes) -> bytes:
    """What a file starts with, after the mark of the format."""
    return hashlib.sha256(name.encode() + b"\0" + code).digest()


def load(name: str) -> bytes | None:
    """The object code of a kernel, or None when it is not there whole."""
    with opened() as place:
        data = None if place is None else place.read(f"{name}.o")
    if data is None or data[: len(MAGIC)] != MAGIC:
        return None
    code = data[HEAD:]
    return code if digest(name, code) == data[len(MAGIC) : HEAD] else None


_COUNTED: dict[Path, tuple[int, int]] = {}  # bytes in a folder: when counted, and written since


def save(name: str, code: bytes) -> None:
    """Keep a kernel; a folder that cannot be written to is no error."""
    data, most = MAGIC + digest(name, code) + code, limit()
    if len(data) > most:
        return
    with opened() as place, suppress(OSError):
        if place is None:
            return
        counted, since = _COUNTED.get(place.path, (most, 0))
        # Other processes write, too: what they wrote is counted now and then.
        if counted + since + len(data) > most or since > most // 8:
            counted, since = place.make_room(most - len(data)), 0
        place.write(f"{name}.o", data)
        _COUNTED[place.path] = counted, since + max(len(data), 4096)


def listed() -> list[tuple[str, int]]:
    """(file name, size) of everything kept."""
    with opened() as place:
        return sorted((f.name, f.size) for f in place.files()) if place is not None else []


def clear_counts() -> None:
    """Count again what is there before the next file is kept."""
    _COUNTED.clear()


def clear() -> int:
    """Remove what graphad keeps; the number of files removed."""
    clear_counts()
    with opened() as place:
        return sum(place.remove(f.name) for f in place.files()) if place is not None else 0
