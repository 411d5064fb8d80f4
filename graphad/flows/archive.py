"""Archives of arrays and one text: NumPy's .npz, read by rules of our own that take no more memory
than the file is long, a few times, and evaluate nothing."""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
import threading
import zipfile
import zlib

import numpy as np

MOST_ARRAYS = 60_000
MOST_TEXT = 1 << 24  # bytes of the description
ALLOWED = {f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8),
                                               "b": (1,)}.items() for size in sizes}  # fmt: skip
HEADER = re.compile(
    rb"\{'descr': '([<>|=])([fiub][0-9]{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,18},|[0-9]{1,18}(?:, [0-9]{1,18}){1,31})?)\), \} *\n"
)
ZIP64 = (1 << 31) - 1  # longer archives may have an end of 64 bits


class Broken(ValueError):
    """What is wrong with an archive, in words."""


def digest(text: str, arrays) -> bytes:
    """SHA-256 of a text and of arrays with their dtypes and shapes."""
    made = hashlib.sha256(text.encode())
    for a in arrays:
        made.update(f"{a.dtype.str}{a.shape}".encode())
        made.update(np.ascontiguousarray(a).tobytes())
    return made.digest()


def write(path, text: str, arrays: list[np.ndarray]) -> None:
    """Write beside the place and move there, so that an error leaves what was there before."""
    held = {f"a{k}": a for k, a in enumerate(arrays)}
    held["description"] = np.frombuffer(text.encode(), np.uint8)
    held["digest"] = np.frombuffer(digest(text, arrays), np.uint8)
    place = os.fspath(path)
    beside = f"{place}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        with open(beside, "wb") as file:
            np.savez(file, **held)  # type: ignore[arg-type]
        os.replace(beside, place)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def read(path) -> tuple[str, list[np.ndarray]]:
    """(text, arrays) of a file that `write` made; Broken says what else it is."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        members = _members(file, length)
        names = {f"a{k}.npy" for k in range(len(members) - 2)} | {"description.npy", "digest.npy"}
        if set(members) != names:
            raise Broken(f"it has not the members of a flow, but {', '.join(members)}"[:200])
        try:
            held = {n: _array(n, file, info) for n, info in members.items()}
        except (struct.error, OverflowError, ValueError) as problem:
            raise Broken(str(problem)) from None
    told, given = held["description.npy"], held["digest.npy"]
    if told.dtype != np.uint8 or given.dtype != np.uint8 or given.shape != (32,):
        raise Broken("its description or digest is no array of bytes")
    if told.size > MOST_TEXT:
        raise Broken(f"its description has {told.size} bytes, more than {MOST_TEXT}")
    arrays = [held[f"a{k}.npy"] for k in range(len(members) - 2)]
    try:
        text = told.tobytes().decode()
    except UnicodeDecodeError:
        raise Broken("its description is no text") from None
    if digest(text, arrays) != given.tobytes():
        raise Broken("it was changed since it was written: its digest is another")
    return text, arrays


def _members(file, length: int) -> dict[str, zipfile.ZipInfo]:
    """The stored members by name; what they claim is within the file."""
    if length < 22:
        raise Broken("it is cut: too short for an archive" if length else "it is empty")
    file.seek(0)
    if file.read(4) != b"PK\3\4":
        raise Broken("it is no archive of arrays (.npz)")
    file.seek(max(length - 42, 0))
    end = file.read()
    if end[-22:-18] != b"PK\5\6":
        raise Broken("it is cut, or no archive: its end is missing")
    if end[:4] == b"PK\6\7" and length <= ZIP64:
        raise Broken("its end claims more than the file has")
    count, size = struct.unpack("<HI", end[-12:-6])
    if length <= ZIP64 and (size > length or size > 200 * count or count > MOST_ARRAYS + 2):
        raise Broken("its table of contents is too large")
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
    except Exception as problem:  # zipfile raises many kinds for what is no archive
        raise Broken(f"its table of contents is broken: {problem}") from None
    for info in found:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Broken(f"'{info.filename[:40]}' is compressed or encrypted, which save does not")
        if info.file_size != info.compress_size:
            raise Broken(f"'{info.filename[:40]}' has two sizes")
    if min((i.header_offset for i in found), default=0) != 0:
        raise Broken("there is something before its first member")
    if sum(info.file_size for info in found) > length:
        raise Broken("its members claim more than the file has")
    members = {info.filename: info for info in found}
    if len(members) != len(found):
        raise Broken("two members have one name")
    return members


def _array(name: str, file, info) -> np.ndarray:
    """One array of the archive, its size checked against its header first."""
    file.seek(info.header_offset)
    local = file.read(30)
    if len(local) != 30 or local[:4] != b"PK\3\4":
        raise Broken(f"'{name}' is not where the table of contents has it")
    named, extra = struct.unpack("<HH", local[26:30])
    if file.read(named) != name.encode():
        raise Broken(f"'{name}' has another name in its place")
    file.seek(extra, os.SEEK_CUR)
    body = file.read(info.file_size)
    if len(body) != info.file_size:
        raise Broken(f"it is cut within '{name}'")
    if zlib.crc32(body) != info.CRC:
        raise Broken(f"'{name}' was changed: its checksum is another")
    if body[:8] != b"\x93NUMPY\1\0" or len(body) < 10:
        raise Broken(f"'{name}' is no array of NumPy's format 1.0")
    start = 10 + int.from_bytes(body[8:10], "little")
    header = HEADER.fullmatch(body[10:start])
    if header is None:
        raise Broken(f"'{name}' has a header that save does not write")
    order, code, fortran, listed = header.groups()
    if code.decode() not in ALLOWED:
        raise Broken(f"'{name}' has the dtype {code.decode()}, which is none of a flow's")
    shape = tuple(int(d) for d in listed.decode().replace(",", " ").split())
    dtype = np.dtype((order + code).decode())
    if math.prod(shape) * dtype.itemsize != len(body) - start:
        raise Broken(f"'{name}' claims the shape {shape}, which is not the size that it has")
    found = np.frombuffer(body, dtype, offset=start)
    found = found.reshape(shape, order="F" if fortran == b"True" else "C")
    return np.array(found, dtype.newbyteorder("="), order="C")
