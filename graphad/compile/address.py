"""Addresses in this process, with what another process finds its own by."""

from __future__ import annotations

from typing import Any


class Address(int):
    """An address that differs between processes, and what is there: ("kernel", its source),
    ("lapack", a name), ("blas", which of `blas_threads`)."""

    origin: tuple[str, Any]

    def __new__(cls, value: int, kind: str, which: Any):
        made = super().__new__(cls, value)
        made.origin = (kind, which)
        return made
