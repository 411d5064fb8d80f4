"""What one loop region computes: the statements of its body, views being index arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphad.graph import Graph, Node
from graphad.lower.place import (
    POINTWISE,
    REDUCES,
    VIRTUAL,
    Group,
    is_plain_reshape,
    kind_of,
)
from graphad.lower.program import (
    Affine,
    Loop,
    Statement,
    Store,
    fixed,
    steps_of,
    unit,
)

if TYPE_CHECKING:
    from graphad.lower.regions import Assembly


class Body:
    """Collects the statements of one loop region."""

    def __init__(self, assembly: Assembly, space: tuple):
        self.assembly = assembly
        self.graph = assembly.graph
        self.space = space
        rank = len(space)
        self.rank = rank
        self.identity = [unit(a, rank) for a in range(rank)]
        self.statements: list[Statement] = []
        self.known: dict[Any, int] = {}
        self.local: dict[int, int] = {}

    def emit(self, op, args, dtype, where, **more) -> int:
        """Append a statement, or return the equal one."""
        key = (op, tuple(args), dtype, repr(more.get("value")), *sorted(
            (k, v) for k, v in more.items() if k != "value"
        ))  # fmt: skip
        if key not in self.known:
            statement = Statement(len(self.statements), op, tuple(args), dtype, where, **more)
            self.statements.append(statement)
            self.known[key] = statement.id
        return self.known[key]

    def flat(self, shape, coordinates) -> Affine:
        """The position in a C-ordered buffer of this shape."""
        at = fixed(0, self.rank)
        for step, c in zip(steps_of(shape), coordinates, strict=True):
            at = at + c.times(step)
        return at

    def read(self, node_id: int, coordinates) -> int:
        """The statement that has the value of a node at these coordinates."""
        node_id, coordinates, at = self.walk(node_id, coordinates)
        node = self.graph.nodes[node_id]
        dtype = node.spec.dtype
        if node_id in self.local:
            return self.local[node_id]
        if node_id in self.assembly.buffer_of and not (at is None and self._again(node)):
            buffer = self.assembly.buffer_of[node_id]
            at = self.flat(node.spec.shape, coordinates) if at is None else at
            return self.emit("load", (), dtype, node.where, buffer=buffer, at=at)
        if node.op.name == "const":
            return self.emit("const", (), dtype, node.where, value=node.param("value"))
        if node.op.name == "dim":
            return self.emit("dim", (), dtype, node.where, value=node.param("value"))
        if kind_of(node) == "loop":  # cheap enough to be computed again (Assembly._is_cheap)
            args = [self.read(a, coordinates) for a in node.args]
            return self.emit(node.op.name, args, dtype, node.where)
        assert node.op.name == "iota", node
        return self._index(node, coordinates)

    def _again(self, node: Node) -> bool:
        return kind_of(node) == "loop" and self.assembly.is_free(node)

    def walk(self, node_id: int, coordinates):
        """Through views to what is stored or computed: (node, coordinates, flat index or None)."""
        flat: Affine | None = None
        coordinates = list(coordinates)
        while (
            self.assembly.fusion._is_open_view(node_id) and node_id not in self.assembly.buffer_of
        ):
            node = self.graph.nodes[node_id]
            if (
                flat is None
                and node.op.name == "reshape"
                and not is_plain_reshape(self.graph, node)
            ):
                flat = self.flat(node.spec.shape, coordinates)
            elif flat is None:
                coordinates = through_view(self.graph, node, coordinates, self.rank)
            node_id = node.args[0]
        return node_id, coordinates, flat

    def of_group(self, group: Group) -> Loop:
        """The region of a group: members at their coordinates, then the stores."""
        assembly, graph = self.assembly, self.graph
        places = self._coordinates(group)
        stores = []
        for node_id in sorted(group.members):
            node = graph.nodes[node_id]
            coordinates = places[node_id]
            kind = kind_of(node)
            if kind == "reduce":
                stores.append(self._reduction(node))
                continue
            value = self._compute(node, kind, coordinates)
            if kind in POINTWISE:
                self.local[node_id] = value
            buffer = assembly.buffer_of.get(node_id)
            if buffer is not None:
                stores.append(Store(value, buffer, self.flat(node.spec.shape, coordinates)))
        where = graph.nodes[max(group.members)].where
        return self.finish(stores, where)

    def _coordinates(self, group) -> dict[int, Any]:
        """Where each member is computed: its own point, or its single user's through views."""
        fusion, graph = self.assembly.fusion, self.graph
        places: dict[int, Any] = {}
        for node_id in sorted(group.members, reverse=True):
            if group.members[node_id] == 0:
                places[node_id] = self.identity
                continue
            user = fusion._placed_users(graph.nodes[node_id])[0][0]
            at_user = places[user]
            if kind_of(graph.nodes[user]) == "view":
                at_user = through_view(graph, graph.nodes[user], at_user, self.rank)
            for arg in graph.nodes[user].args:
                views = []
                while fusion._is_open_view(arg):
                    views.append(graph.nodes[arg])
                    arg = graph.nodes[arg].args[0]
                if arg == node_id:
                    coordinates = list(at_user)
                    for view in views:
                        coordinates = through_view(graph, view, coordinates, self.rank)
                    places[node_id] = coordinates
                    break
        return places

    def _compute(self, node: Node, kind: str, coordinates) -> int:
        if kind == "loop":
            args = [self.read(a, coordinates) for a in node.args]
            return self.emit(node.op.name, args, node.spec.dtype, node.where)
        if kind == "gather":
            return self._gather(node, coordinates)
        if kind == "view":  # a view that must be stored: read through it
            node_id, coordinates = node.args[0], list(coordinates)
            if node.op.name == "reshape" and not is_plain_reshape(self.graph, node):
                buffer = self.assembly.buffer_of[node_id]
                at = self.flat(node.spec.shape, coordinates)
                return self.emit("load", (), node.spec.dtype, node.where, buffer=buffer, at=at)
            return self.read(node_id, through_view(self.graph, node, coordinates, self.rank))
        assert kind in VIRTUAL, kind
        if kind == "iota":
            return self._index(node, coordinates)
        return self.emit(kind, (), node.spec.dtype, node.where, value=node.param("value"))

    def _index(self, node: Node, coordinates) -> int:
        axis = node.param("axis")
        at = self.flat(node.spec.shape, coordinates) if axis is None else coordinates[axis]
        return self.emit("index", (), node.spec.dtype, node.where, at=at)

    def _gather(self, node: Node, coordinates) -> int:
        x, *indices = node.args
        rank = self.graph.nodes[indices[0]].spec.ndim
        found = [self.read(i, coordinates[:rank]) for i in indices]
        shape = self.graph.nodes[x].spec.shape
        steps = steps_of(shape)
        at = fixed(0, self.rank)
        for step, c in zip(steps[len(indices) :], coordinates[rank:], strict=True):
            at = at + c.times(step)
        bounds = tuple(zip(shape[: len(indices)], steps[: len(indices)], strict=True))
        buffer = self.assembly.buffer_of[x]
        return self.emit(
            "gather", found, node.spec.dtype, node.where, buffer=buffer, at=at, bounds=bounds
        )

    def _reduction(self, node: Node) -> Store:
        value = self.read(node.args[0], self.identity)
        axes = node.param("axes")
        kept = [c for a, c in enumerate(self.identity) if a not in axes]
        at = self.flat(node.spec.shape, kept)
        return Store(value, self.assembly.buffer_of[node.id], at, REDUCES[node.op.name], axes)

    def finish(self, stores, where, sequential=-1) -> Loop:
        """The region, with only the statements that its stores need."""
        needed = {s.value for s in stores} | {i for s in stores for i in s.indices}
        for statement in reversed(self.statements):
            if statement.id in needed:
                needed.update(statement.args)
        body = tuple(s for s in self.statements if s.id in needed)
        return Loop(tuple(self.space), body, tuple(stores), where, sequential)


def through_view(graph: Graph, node: Node, coordinates, rank):
    """Coordinates of a view's source for given coordinates of the view."""
    name = node.op.name
    if name == "transpose":
        out: list[Any] = [None] * len(coordinates)
        for position, p in enumerate(node.param("perm")):
            out[p] = coordinates[position]
        return out
    if name == "broadcast":
        return [coordinates[a] for a in node.param("axes")]
    if name == "slice":
        return [
            c.times(step) + fixed(first, rank)
            for c, first, step in zip(
                coordinates, node.param("start"), node.param("step"), strict=True
            )
        ]
    if name == "reshape":
        kept = iter(c for c, d in zip(coordinates, node.spec.shape, strict=True) if d != 1)
        source = graph.nodes[node.args[0]].spec.shape
        return [fixed(0, rank) if d == 1 else next(kept) for d in source]
    assert name == "barrier", name
    return list(coordinates)
