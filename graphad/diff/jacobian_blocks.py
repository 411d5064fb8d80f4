"""Diagonal blocks of a block triangular Jacobian, by one forward pass for each of their columns.

Of each intermediate element only the tangent within one block is kept: that of the block that it
lies between, coming from a column of the block and going to a row of it. What goes from one block
to another is left out, so all blocks can be had from the same pass. Where an element lies between
several blocks this does not work, and the Jacobian is computed column by column.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graphad.diff.pushforward import _tangent
from graphad.diff.sparsity import Dependence, Structure, _product, _sparse
from graphad.graph import Builder, reachable
from graphad.ops.scalar import scale
from graphad.ops.value import Value, lift
from graphad.spec import Spec

NONE = -1


class Lanes:
    """For each element the block that it lies between, and the masks that keep blocks apart.

    `arguments[node][argument]` and `results[node]` are masks, absent where nothing is left out;
    `weights[node]` one of what a product's argument is multiplied by, as (argument, mask); and a
    node in `straight` passes each element of its argument to that of the same number alone.
    """

    def __init__(self, found: Dependence, output: int, structure: Structure):
        n, count = structure.size, max(structure.block) + 1
        block = np.array(structure.block)
        columns = _sparse(np.array(structure.match), block, (n, count))
        rows = _sparse(np.arange(n), block, (n, count))
        back = found.backward(output, rows)
        self.separable = True
        self.lane: dict[int, np.ndarray] = {}
        self.arguments: dict[int, dict[int, np.ndarray]] = {}
        self.results: dict[int, np.ndarray] = {}
        self.weights: dict[int, tuple[int, np.ndarray]] = {}
        self.straight: set[int] = set()
        for node_id, reach in back.items():
            if node_id in found.forward:
                self._lane(node_id, _product(found.forward[node_id], columns).multiply(reach))
        for node_id in sorted(self.lane):
            for a, e in found.edges.get(node_id, ()):
                if a in self.lane:
                    self._edge(found, found.nodes[node_id], a, e.tocoo())
        for node_id, lane in self.lane.items():
            if (lane == NONE).any() and node_id in found.edges:
                self.results[node_id] = self.results.get(node_id, True) & (lane != NONE)

    def _lane(self, node_id, between):
        between = between.tocsr()
        counts = np.diff(between.indptr)
        self.separable &= bool((counts <= 1).all())
        lane = np.full(len(counts), NONE)
        lane[counts == 1] = between.indices[between.indptr[:-1][counts == 1]]
        if (lane != NONE).any():
            self.lane[node_id] = lane

    def _edge(self, found: Dependence, node, a, e):
        """What of an argument, or else of the result, must be left out."""
        node_id = node.id
        ours, theirs = self.lane[node_id][e.row], self.lane[a][e.col]
        counts = (ours != NONE) & (theirs != NONE)
        good, bad = counts & (ours == theirs), counts & (ours != theirs)
        if not bad.any():
            return
        ways = [(e.col, self._mask_argument), (e.row, self._mask_result)]
        for own, mask_of in ways[node.op.name == "pick" :]:  # whose argument is not an array
            keeps, drops = (np.unique(own[m]) for m in (good, bad))
            if not np.intersect1d(keeps, drops).size:
                mask_of(node_id, a, drops)
                return
        others = [b for b in node.args if b != a]
        if node.op.name == "contract" and others and others[0] not in self.lane:
            places: Any = found.places(node, e.row, e.col, a, others[0])
            if places is not None:
                mask = np.zeros(found.nodes[others[0]].spec.size, bool)
                mask[places[good]] = True
                self.weights[node_id] = (others[0], mask)
                return
        if node.op.name == "cumsum" and (e.row == e.col)[good].all():
            self.straight.add(node_id)
            return
        self.separable = False

    def _mask_argument(self, node_id, a, drops):
        self.arguments.setdefault(node_id, {})[a] = _without(drops, len(self.lane[a]))

    def _mask_result(self, node_id, a, drops):
        mask = _without(drops, len(self.lane[node_id]))
        self.results[node_id] = self.results.get(node_id, True) & mask


def _without(drops, size: int) -> np.ndarray:
    """A mask of all but some places."""
    mask = np.ones(size, bool)
    mask[drops] = False
    return mask


def push_within(builder: Builder, lanes: Lanes, source: int, output: int, tangent: Value) -> Value:
    """The tangent of the output, each element's from the columns of its own block."""
    found: dict[int, Any] = {source: tangent}
    active = reachable(builder.nodes, [output])
    for node_id in range(source + 1, output + 1):
        node = builder.nodes[node_id]
        several = not isinstance(node.spec, Spec)
        if node_id not in active or not (node_id in lanes.lane or several):
            continue
        masks = lanes.arguments.get(node_id, {})
        with builder.at(node.where):
            parts = {a: _masked(found[a], masks.get(a)) for a in node.args if a in found}
            if node_id in lanes.weights:
                a, mask = lanes.weights[node_id]
                other = _masked(Value(builder, a), mask)
                node = replace(node, args=tuple(other.id if b == a else b for b in node.args))
            straight = node_id in lanes.straight
            made = parts[node.args[0]] if straight else _tangent(builder, node, parts)
            found[node_id] = made if several else _masked(made, lanes.results.get(node_id))
        if found[node_id] is None:
            del found[node_id]
    return found[output]


def _masked(t, mask):
    if t is None or mask is None or mask.all():
        return t
    kept = np.ascontiguousarray(mask.reshape(t.shape), t.dtype)
    return scale(t, lift(t, kept, "sparsity"))
