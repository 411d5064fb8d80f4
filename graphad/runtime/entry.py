"""Entries: Numba functions that take arrays and scalars, allocate results and run an image.

One entry serves every program whose arguments and results have the same dtypes and ranks; it is
compiled once and kept on disk by Numba's own cache, in a module file named by its content.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
from typing import Any, NamedTuple

from graphad.runtime import cache
from graphad.runtime import executor as x
from graphad.runtime.build import COUNTERS


class Operand(NamedTuple):
    """An argument or result: its dtype code and rank; rank -1 is a scalar."""

    code: str
    rank: int


def source_of(inputs: tuple[Operand, ...], outputs: tuple[Operand, ...], given: bool) -> str:
    """The entry's source. `given`: the results come as arguments too, instead of being made."""
    arguments = [f"a{k}" for k in range(len(inputs))]
    results = [f"o{k}" for k, o in enumerate(outputs)]
    extra = [r for r, o in zip(results, outputs, strict=True) if given and o.rank >= 0]
    lines = [
        "import numpy as np",
        "from graphad.runtime.frame import *",
        "",
        f"def entry({', '.join(['image', *arguments, *extra])}):",
        "    frame = open_frame(image)",
        "    if frame == 0:",
        f"        fail({x.NO_MEMORY})",
    ]
    at = x.HEADER
    for name, o in zip(arguments, inputs, strict=True):
        put = "put_scalar" if o.rank < 0 else "put_array"
        lines.append(f"    {put}(frame, {at}, {name})")
        at += x.INPUT_FIELDS + 4 * max(o.rank, 0)
    lines += [
        f"    status = run(frame, {x.PREPARE})",
        "    if status != 0:",
        "        close_frame(frame)",
        "        fail(status)",
    ]
    for name, o in zip(results, outputs, strict=True):
        if o.rank < 0:
            lines.append(f"    put_own(frame, {at})")
        else:
            if not given:
                dims = "".join(f"field(frame, {at + 4 + a}), " for a in range(o.rank))
                lines.append(f"    {name} = np.empty(({dims}), np.{dtype_name(o.code)})")
            lines.append(f"    put_address(frame, {at}, {name})")
        at += 4 + max(o.rank, 0)
    lines.append(f"    status = run(frame, {x.EXECUTE})")
    at = x.HEADER + sum(x.INPUT_FIELDS + 4 * max(o.rank, 0) for o in inputs)
    for name, o in zip(results, outputs, strict=True):
        if o.rank < 0:
            lines.append(f"    {name} = get_{o.code}(frame, {at + 3})")
        at += 4 + max(o.rank, 0)
    lines += ["    close_frame(frame)", "    if status != 0:", "        fail(status)"]
    lines.append(f"    return {', '.join(results)}" if results else "    return None")
    return "\n".join(lines) + "\n"


def dtype_name(code: str) -> str:
    """NumPy's name of a dtype code."""
    import numpy

    return "bool_" if code == "b1" else numpy.dtype(code).name


_ENTRIES: dict[Any, Any] = {}
_LOCK = threading.RLock()


def entry_for(inputs, outputs, given=False, keep=True):
    """The compiled Python-callable entry for these types: entry(image address, *arguments)."""
    key = (tuple(inputs), tuple(outputs), given, keep)
    found = _ENTRIES.get(key)
    if found is None:
        with _LOCK:
            found = _ENTRIES.get(key)
            if found is None:
                found = _ENTRIES[key] = _compiled(*key)
    return found


def _types(inputs, outputs, given):
    from numba import types

    from graphad.runtime.intrinsics import NUMBA_TYPES

    def numba_type(o: Operand, readonly: bool):
        if o.rank < 0:
            return NUMBA_TYPES[o.code]
        return types.Array(NUMBA_TYPES[o.code], o.rank, "A" if readonly else "C", readonly=readonly)

    made = [numba_type(o, True) for o in inputs]
    if given:
        made += [numba_type(o, False) for o in outputs if o.rank >= 0]
    return (types.int64, *made)


def _compiled(inputs, outputs, given, keep):
    import numba

    source = source_of(inputs, outputs, given)
    types = _types(inputs, outputs, given)
    options = {"nogil": True, "error_model": "numpy"}
    COUNTERS.entries += 1
    module = _module(source) if keep else None
    if module is not None:
        try:
            made = numba.njit(types, cache=True, **options)(module.entry)
            made.disable_compile()
            return made
        except Exception as error:  # a damaged cache file is a miss, whatever it raises
            del error
    made = numba.njit(types, **options)(python_entry(inputs, outputs, given))
    made.disable_compile()
    return made


def python_entry(inputs, outputs, given=False):
    """The entry as a Python function, for Numba to compile as part of other code."""
    space: dict[str, Any] = {}
    source = source_of(tuple(inputs), tuple(outputs), given)
    exec(compile(source, "<graphad entry>", "exec"), space)
    return space["entry"]


def _module(source: str):
    """The source as an importable module in the cache folder, or None without one."""
    folder = cache.folder()
    if folder is None:
        return None
    name = f"graphad_entry_{cache.hash_of(source)[:32]}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        place = cache.trusted(folder / "entries")
        if place is None:
            return None
        path = place / f"{name}.py"
        if not path.exists() or path.read_text() != source:
            handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
            with os.fdopen(handle, "w") as file:
                file.write(source)
            os.replace(temporary, path)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except OSError:
        return None
    sys.modules[name] = module
    return module
