"""Images on disk: what tracing gave is known again by its text, and lowering is passed by.

A file is a description in JSON and the image's words. What is at an address is named instead:
kernels by their source, functions of libraries by their name, captured arrays by their place in the
graph. Only graphs of static shapes that take long to lower are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graphad.compile import cache
from graphad.compile.build import build, cores
from graphad.compile.functions import blas_threads, lapack_address
from graphad.emit.source import Facts, KernelSource
from graphad.emit.target import host
from graphad.graph import Graph
from graphad.run import layout
from graphad.run.image import EXECUTORS, Image, finished, threads_for
from graphad.run.image_writer import Writer
from graphad.spec import Spec

FEWEST = 1000  # nodes of a graph that is kept: fewer are lowered sooner than they are known again


Specs = tuple[Spec, ...]


class _Unknown(Exception):
    """Something in a graph that has no text of its own."""


def key_of(graph: Graph, options: dict[str, Any]) -> str | None:
    """What an image is kept under; None for one that cannot be."""
    if len(graph.nodes) < FEWEST or not options["cache"]:
        return None
    try:
        threads = threads_for(options["parallel"]), cores()
        whole = (_own_text(), cache.build_key(host()), threads, sorted(options.items()),
                 _text(graph))  # fmt: skip
    except _Unknown:
        return None
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:40]


@lru_cache(maxsize=1)
def _own_text() -> str:
    """The hash of all of graphad: any of it may change what lowering gives."""
    ours = hashlib.sha256()
    for file in sorted(Path(__file__).parent.parent.rglob("*.py")):
        ours.update(file.read_bytes())
    return ours.hexdigest()


def _text(value) -> Any:
    """A value as tuples of texts and numbers, all of it."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float | complex | np.generic | np.dtype):
        return type(value).__name__, repr(value), str(getattr(value, "dtype", ""))
    if isinstance(value, Spec):
        if not all(type(d) is int for d in value.shape):
            raise _Unknown
        return value.shape, value.dtype.str, value.weak
    if isinstance(value, tuple):
        return tuple([_text(v) for v in value])
    if isinstance(value, Graph):
        captured = tuple([(a.shape, a.dtype.str) for a in value.captured])
        nodes = [(n.op.name, n.args, _text(n.params), _text(n.spec)) for n in value.nodes]
        return nodes, value.inputs, value.outputs, value.tags, captured
    raise _Unknown


def load(key: str, graph: Graph) -> tuple[Image, Specs, Specs] | None:
    """(the image, specs of inputs and outputs), where it is kept."""
    data = cache.load(key)
    if data is None:
        return None
    size = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + size])
    words = np.frombuffer(data[8 + size :], np.int64).tolist()
    codes = build([KernelSource(code, Facts(**facts), s) for code, facts, s in told["kernels"]])
    w = Writer((), told["threads"])
    w.data, w.alive, w.team = words, list(codes), told["team"]
    for slot, kind, which in told["addresses"]:
        if kind == "kernel":
            words[slot] = codes[which].address
        else:
            words[slot] = lapack_address(which) if kind == "lapack" else blas_threads()[which]
    for slot, index in told["captured"]:
        w.capture(graph.captured[index], slot)
    w.watching = [(graph.captured[i], tuple(shape)) for i, shape in told["watched"]]
    image = finished(w, told["inputs_at"], told["outputs_at"])
    image.written = None
    image.releases, image.refuses = told["releases"], told["refuses"]
    inputs, outputs = (
        tuple([Spec(tuple(shape), np.dtype(code)) for shape, code in told[name]])
        for name in ("inputs", "outputs")
    )
    return image, inputs, outputs


def save(key: str, graph: Graph, image: Image, inputs, outputs) -> None:
    """Keep an image, if all that it has is known by a name."""
    if image.written is None or image.sizes is not None:
        return
    places = {id(a): k for k, a in enumerate(graph.captured)}
    w, count = image.written
    if w.foreign:
        return
    if any(id(a) not in places for a in (*w.captured_at.values(), *(a for a, _ in w.watching))):
        return
    kernels: dict[KernelSource, int] = {}
    addresses = []
    for slot, (kind, which) in w.addresses.items():
        if kind == "kernel":
            which = kernels.setdefault(which, len(kernels))
        addresses.append((slot, kind, which))
    told = {
        "kernels": [(s.code, dataclasses.asdict(s.facts), s.symbol) for s in kernels],
        "addresses": addresses, "team": w.team, "threads": w.most_threads,
        "captured": [(slot, places[id(a)]) for slot, a in w.captured_at.items()],
        "watched": [(places[id(a)], shape) for a, shape in w.watching],
        "inputs_at": image.inputs_at, "outputs_at": image.outputs_at,
        "releases": image.releases, "refuses": image.refuses,
        "inputs": [(s.shape, s.dtype.str) for s in inputs],
        "outputs": [(s.shape, s.dtype.str) for s in outputs],
    }  # fmt: skip
    words = image.data[:count].copy()
    words[[*w.addresses, *w.captured_at, *EXECUTORS, layout.TEAM, layout.IMAGE]] = 0
    text = json.dumps(told).encode()
    cache.save(key, len(text).to_bytes(8, "little") + text + words.tobytes())
