"""Long straight-line code: a large graph of small arrays, as Python writes loops out.

Its scalars are cut into pieces (`cuts.py`), each a region. What later pieces need of one is stored
in memory of its own, so pieces that read alike are one kernel, whatever they are called with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from graphad.errors import NOWHERE
from graphad.graph import Graph, Node
from graphad.lower.cuts import cuts
from graphad.lower.program import Buffer, Program
from graphad.lower.scalar_linalg import takes_matrix
from graphad.lower.scalar_linalg import work_of as matrix_work
from graphad.lower.scalars import Put, Ref, Scalar, Straightener, Term, needed
from graphad.lower.straight import COVERED, DEAR_VECTOR, Straight, work_of
from graphad.ops.work import LONG
from graphad.spec import Spec, is_static

FEWEST_NODES = 600
LARGEST = 4096  # elements of one array
AVERAGE = 6  # scalars to a node that computes: larger arrays are better loops
MOST_SCALARS = 2_000_000


def takes_long(graph: Graph) -> bool:
    """Whether a graph is long, of arrays so small that loops over them would not pay."""
    if len(graph.nodes) < FEWEST_NODES:
        return False
    work = computing = 0
    for node in graph.nodes:
        amount = _work(graph, node)
        if amount is None:
            return False
        work += amount
        computing += amount > 0
    return work <= min(AVERAGE * computing, MOST_SCALARS)


def _work(graph: Graph, node: Node) -> int | None:
    """Scalars that a node comes to; None where it cannot be written out, or had better not be."""
    if node.op.lowering == "routine" or node.op.name == "pick":
        return matrix_work(graph, node) if takes_matrix(graph, node) else None
    spec = node.spec
    if not isinstance(spec, Spec) or not is_static(spec.shape) or spec.size > LARGEST:
        return None
    if node.op.lowering not in COVERED:
        return None
    if node.op.lowering == "loop" and node.op.cost >= LONG and spec.size >= DEAR_VECTOR:
        return None
    return work_of(graph, node)


def straight_long(graph: Graph) -> Program:
    """The program of such a graph: pieces of straight-line code."""
    return _Cutting(graph).program()


Address = tuple[int, int]  # buffer, element


@dataclass
class _Piece:
    """A region being made: its scalars, of which loads and stores name addresses by number."""

    scalars: list[Scalar] = field(default_factory=list)
    stores: list[Put] = field(default_factory=list)
    checks: list[tuple[Term, int]] = field(default_factory=list)
    local: dict[int, Ref] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)

    def address(self, buffer: int, element: int) -> int:
        """The number of an address."""
        self.addresses.append((buffer, element))
        return len(self.addresses) - 1

    @property
    def code(self) -> tuple:
        """What pieces alike have in common."""
        return tuple(self.scalars), tuple(self.stores), tuple(self.checks)


class _Cutting:
    """Makes the program of one graph."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.buffers: list[Buffer] = []
        self.inputs = tuple(self._buffer(graph.nodes[n].spec, "input", k, graph.nodes[n].where)
                            for k, n in enumerate(graph.inputs))  # fmt: skip
        s = self.straightener = Straightener(graph)
        s.buffer_of.update(zip(graph.inputs, self.inputs, strict=True))
        for node in graph.nodes:
            if node.op.name == "captured":
                index = node.param("index")
                s.buffer_of[node.id] = self._buffer(node.spec, "captured", index, node.where)
        s.run()
        self.home: dict[int, Address] = {}
        self.dtype = {x.id: x.dtype for x in s.scalars}
        self.refs: list[Ref] = []  # of pieces, one for each number

    def _buffer(self, spec: Spec, kind: str, index: int = -1, where=NOWHERE) -> int:
        self.buffers.append(Buffer(len(self.buffers), spec, kind, index, where))
        return len(self.buffers) - 1

    def program(self) -> Program:
        """All of it."""
        s, graph = self.straightener, self.graph
        outputs, puts = [], []
        for k, o in enumerate(graph.outputs):
            spec = graph.nodes[o].spec
            outputs.append(self._buffer(spec, "output", k, graph.nodes[o].where))
            for element, value in enumerate(s.values[o].ravel()):
                puts.append((s.term(value, spec.dtype), (outputs[-1], element), spec.dtype))
        checks = list(dict.fromkeys(s.checks))
        kept = needed(s.scalars, [*(c for c, _ in checks), *(p[0] for p in puts)])
        for x in kept:
            if x.op == "load":
                pointer, _, element = x.at
                self.home[x.id] = s.pointers[pointer], element
        regions = self._regions([x for x in kept if x.op != "load"], puts, checks)
        return Program(regions, tuple(self.buffers), self.inputs, tuple(outputs),
                       captured=graph.captured)  # fmt: skip

    def _regions(self, work: Sequence[Scalar], puts, checks) -> tuple[Straight, ...]:
        bounds = list(pairwise(cuts(work)))
        piece_of = {x.id: k for k, (a, b) in enumerate(bounds) for x in work[a:b]}
        outside = _used_outside(work, piece_of)

        def shared_out(items) -> list[list]:
            """Items, by the piece that makes the term that is first in them."""
            found: list[list] = [[] for _ in bounds]
            for item in items:
                made = piece_of.get(item[0].id, -1) if isinstance(item[0], Ref) else -1
                found[made].append(item)
            return found

        rest = zip(shared_out(puts), shared_out(checks), strict=True)
        pieces = [self._piece(work[a:b], outside, *more)
                  for (a, b), more in zip(bounds, rest, strict=True)]  # fmt: skip
        return _alike(pieces)

    def _piece(self, scalars: Sequence[Scalar], outside: set[int], puts, checks) -> _Piece:
        piece = _Piece()
        for x in scalars:
            args = tuple(self._term(piece, a) for a in x.args)
            piece.local[x.id] = ref = self._ref(len(piece.scalars))
            piece.scalars.append(x._replace(id=ref.id, args=args))
        for dtype, those in _by_dtype(x for x in scalars if x.id in outside).items():
            b = self._buffer(Spec((len(those),), dtype), "temporary", where=those[0].where)
            for slot, x in enumerate(those):
                self.home[x.id] = b, slot
                self._store(piece, self.home[x.id], x.id, dtype)
        for value, address, dtype in puts:
            self._store(piece, address, value, dtype)
        piece.checks += [(self._term(piece, c), status) for c, status in checks]
        return piece

    def _ref(self, number: int) -> Ref:
        while number >= len(self.refs):
            self.refs.append(Ref(len(self.refs)))
        return self.refs[number]

    def _term(self, piece: _Piece, term: Term) -> Term:
        """An argument within a piece: what is made elsewhere is loaded."""
        if not isinstance(term, Ref):
            return term
        if term.id not in piece.local:
            buffer, element = self.home[term.id]
            piece.read.add(buffer)
            piece.local[term.id] = ref = self._ref(len(piece.scalars))
            at = (piece.address(buffer, element), 0, 0)
            dtype = self.dtype[term.id]
            piece.scalars.append(Scalar(ref.id, "load", (), dtype, NOWHERE, None, at))
        return piece.local[term.id]

    def _store(self, piece: _Piece, address: Address, value: Term | int, dtype: np.dtype):
        term = piece.local[value] if isinstance(value, int) else self._term(piece, value)
        piece.written.add(address[0])
        piece.stores.append(Put(piece.address(*address), 0, 0, term, dtype, NOWHERE))


def _used_outside(work: Sequence[Scalar], piece_of: dict[int, int]) -> set[int]:
    """Scalars that other pieces read."""
    return {a.id for x in work for a in x.args
            if isinstance(a, Ref) and piece_of.get(a.id) not in (None, piece_of[x.id])}  # fmt: skip


def _by_dtype(scalars: Iterable[Scalar]) -> dict[np.dtype, list[Scalar]]:
    found: dict[np.dtype, list[Scalar]] = {}
    for x in scalars:
        found.setdefault(x.dtype, []).append(x)
    return found


def _alike(pieces: Sequence[_Piece]) -> tuple[Straight, ...]:
    """The regions of pieces, those that read alike with the same code."""
    classes: dict[tuple, list[int]] = {}
    for k, piece in enumerate(pieces):
        classes.setdefault(piece.code, []).append(k)
    regions: dict[int, Straight] = {}
    for (scalars, stores, checks), members in classes.items():
        firsts, places = _shared([pieces[k].addresses for k in members])
        moved = tuple(x._replace(at=(places[x.at[0]][0], 0, places[x.at[0]][1])) if x.at else x
                      for x in scalars)  # fmt: skip
        puts = tuple(p._replace(pointer=places[p.pointer][0], element=places[p.pointer][1])
                     for p in stores)  # fmt: skip
        where = scalars[-1].where if scalars else NOWHERE
        for k in members:
            piece = pieces[k]
            regions[k] = Straight(
                moved, puts, checks, tuple(piece.addresses[f] for f in firsts), 0,
                tuple(sorted(piece.read)), tuple(sorted(piece.written)), where, part=True,
            )  # fmt: skip
    return tuple(regions[k] for k in range(len(pieces)))


def _shared(members: Sequence[Sequence[Address]]) -> tuple[list[int], list[tuple[int, int]]]:
    """The addresses that kernels are given, by their numbers, and for each of all which of these it
    goes by and how many elements on: those that are as far apart in all pieces share one."""
    groups: dict[tuple, list[int]] = {}
    for k in range(len(members[0])):
        buffers = tuple(m[k][0] for m in members)
        start = members[0][k][1]
        apart = tuple(m[k][1] - start for m in members)
        groups.setdefault((buffers, apart), []).append(k)
    firsts, places = [], [(0, 0)] * len(members[0])
    for numbers in groups.values():
        first = min(numbers, key=lambda k: members[0][k][1])
        for k in numbers:
            places[k] = len(firsts), members[0][k][1] - members[0][first][1]
        firsts.append(first)
    return firsts, places
