"""The folder of compiled kernels: one file an object, named by the hash of all that made it.

A file is a digest and machine code; whatever does not check out is a miss. Files
appear whole, by an atomic rename. Nothing is unpickled. The folder must be the user's own (0700,
no link); otherwise, and where nothing can be written, kernels live in memory only.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from graphad.emit.source import KernelSource
from graphad.emit.target import Target, host
from graphad.lower.order import BLOCK, LANES

MAGIC = b"graphad2"


MEANING = ("instructions.py", "blocks.py", "primitives.py", "translate.py", "analysis.py",
           "build.py", "functions.py")  # fmt: skip
BODIES = ("target.py", "source.py", "real.py", "vecmath.py", "vectrig.py", "vecspecial.py",
          "vecgamma.py", "wide.py", "coefficients.py", "philox.py")  # fmt: skip


@lru_cache(maxsize=16)
def build_key(target: Target) -> str:
    """What every kernel depends on besides its source: LLVM's version, the CPU, the platform."""
    import llvmlite

    return "|".join(("3", llvmlite.__version__, target.key, sys.platform))


@lru_cache(maxsize=1)
def language_key() -> str:
    """The text of the modules that give kernel sources their meaning."""
    here = Path(__file__).parent
    files = [here / n for n in MEANING]
    files += [here.parent / "emit" / n for n in BODIES]
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


def trusted(path: Path) -> Path | None:
    """The folder if it is a real folder of this user that nobody else can write to."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = os.lstat(path)
    if not stat.S_ISDIR(seen.st_mode):
        return None
    if hasattr(os, "getuid") and seen.st_uid != os.getuid():
        return None
    if seen.st_mode & 0o022:
        os.chmod(path, 0o700)
    return path if os.access(path, os.R_OK | os.X_OK) else None


def load(name: str) -> bytes | None:
    """The object code of a kernel, or None when it is not there whole."""
    path = folder()
    if path is None:
        return None
    file = path / f"{name}.o"
    try:
        if hasattr(os, "getuid") and os.lstat(file).st_uid != os.getuid():
            return None
        data = file.read_bytes()
    except OSError:
        return None
    head = len(MAGIC) + 32
    fits = data[: len(MAGIC)] == MAGIC
    if not fits or hashlib.sha256(data[head:]).digest() != data[len(MAGIC) : head]:
        return None
    return data[head:]


def save(name: str, code: bytes) -> None:
    """Keep a kernel; a folder that cannot be written to is no error."""
    path = folder()
    if path is None:
        return
    data = MAGIC + hashlib.sha256(code).digest() + code
    try:
        handle, temporary = tempfile.mkstemp(dir=path, prefix=f"{name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path / f"{name}.o")
        except OSError:
            os.unlink(temporary)
    except OSError:
        return


def listed() -> list[tuple[str, int]]:
    """(file name, size) of everything kept."""
    path = folder()
    if path is None:
        return []
    return sorted(
        (str(f.relative_to(path)), f.stat().st_size) for f in path.rglob("*") if f.is_file()
    )


def clear() -> int:
    """Remove what graphad keeps; the number of files removed."""
    path = folder()
    if path is None:
        return 0
    removed = 0
    for name, _ in listed():
        if name.endswith((".o", ".tmp", ".py", ".nbi", ".nbc", ".pyc", ".lock")):
            try:
                (path / name).unlink()
                removed += 1
            except OSError:
                continue
    return removed
