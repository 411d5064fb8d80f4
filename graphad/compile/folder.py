"""A folder of this user's that holds files nobody else could have written.

It must be the user's own (0700, no link), below folders that others cannot change. It is opened
once, files are reached through its descriptor, and each must be a plain one of the user's that no
other may write. Files appear whole, by an atomic rename; what a killed writer leaves is removed by
a later one, and so is what was used longest ago where there is too much.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SMALLEST, LARGEST = 40, 1 << 28  # bytes of a file that is looked at
UNFINISHED = 10  # seconds after which a file that no writer has renamed is nobody's
FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
OTHERS, GROUP = 0o002, 0o020  # who may write


def trusted(path: Path) -> Path | None:
    """The folder if it is a real folder of this user in which, and above which, nobody else can
    put anything in place of what is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = os.lstat(path)
    if not stat.S_ISDIR(seen.st_mode) or not _ours(seen):
        return None
    whole = Path(os.path.realpath(path))
    if not all(_safe(os.lstat(above)) for above in whole.parents):
        return None
    if hasattr(os, "geteuid") and seen.st_mode & (OTHERS | GROUP):
        if seen.st_mode & stat.S_ISVTX:  # one that users share, such as /tmp
            return None
        os.chmod(whole, stat.S_IMODE(seen.st_mode) & ~(OTHERS | GROUP))
    return whole if os.access(whole, os.R_OK | os.X_OK) else None


def _ours(seen: os.stat_result) -> bool:
    """Whether it belongs to this user."""
    return not hasattr(os, "geteuid") or seen.st_uid == os.geteuid()


def _safe(seen: os.stat_result) -> bool:
    """Whether what lies in a folder cannot be renamed by anyone but this user and root."""
    if not hasattr(os, "geteuid"):
        return True
    if seen.st_uid not in (0, os.geteuid()):
        return False
    own_group = seen.st_gid == os.getegid()  # many systems give each user a group
    open_to = seen.st_mode & (OTHERS | (0 if own_group else GROUP))
    return not open_to or bool(seen.st_mode & stat.S_ISVTX)


class File(NamedTuple):
    """A file of the folder: when it was last used, its bytes, its name."""

    used: int
    size: int
    name: str


class Folder:
    """An open folder. Its files are reached through its descriptor, where there are such."""

    def __init__(self, path: Path):
        self.path = path
        self.at = os.open(path, os.O_RDONLY | os.O_DIRECTORY | FLAGS) if DESCRIPTORS else None

    def _place(self, name: str) -> str:
        return name if self.at is not None else str(self.path / name)

    def read(self, name: str) -> bytes | None:
        """The whole file, if it is a plain one of this user's that no other could have written."""
        try:
            file = os.open(self._place(name), os.O_RDONLY | FLAGS, dir_fd=self.at)
        except OSError:
            return None
        try:
            seen = os.fstat(file)
            open_to = hasattr(os, "geteuid") and seen.st_mode & (OTHERS | GROUP)
            if not stat.S_ISREG(seen.st_mode) or not _ours(seen) or open_to:
                return None
            if not SMALLEST <= seen.st_size <= LARGEST:
                return None
            with suppress(OSError):
                os.utime(file if os.utime in os.supports_fd else self._place(name))
            with open(file, "rb", closefd=False) as whole:
                return whole.read(LARGEST)
        except OSError:
            return None
        finally:
            os.close(file)

    def write(self, name: str, data: bytes) -> None:
        """The file, which appears whole or not at all."""
        own = f"{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS
        try:
            with open(os.open(self._place(own), flags, 0o600, dir_fd=self.at), "wb") as file:
                file.write(data)
            places = self._place(own), self._place(name)
            os.replace(*places, src_dir_fd=self.at, dst_dir_fd=self.at)
        except BaseException:
            self.remove(own)
            raise

    def remove(self, name: str) -> bool:
        """Whether there was such a file that could be removed."""
        try:
            os.unlink(self._place(name), dir_fd=self.at)
        except OSError:
            return False
        return True

    def files(self) -> list[File]:
        """What is there of ours."""
        found = []
        with os.scandir(self.path if self.at is None else self.at) as entries:
            for entry in entries:
                if entry.name.endswith((".o", ".tmp")):
                    with suppress(OSError):
                        seen = entry.stat(follow_symlinks=False)
                        size = max(seen.st_size, getattr(seen, "st_blocks", 0) * 512)
                        found.append(File(seen.st_mtime_ns, size, entry.name))
        return found

    def make_room(self, most: int) -> int:
        """Remove what killed writers left, and what was used longest ago, until so many bytes are
        left; how many there are."""
        files, nobodys = self.files(), time.time_ns() - UNFINISHED * 10**9
        left = [f for f in files if f.name.endswith(".o")]
        for f in files:
            if f.name.endswith(".tmp") and f.used < nobodys:
                self.remove(f.name)
        total = sum(f.size for f in left)
        for f in sorted(left) if total > most else ():
            if total <= most * 3 // 4:  # some at a time
                break
            total -= f.size
            self.remove(f.name)
        return total
