"""Where each node is computed: the first half of fusion.

Nodes are placed in reverse order, each as late as its users allow, so that cheap residuals are
computed where they are used rather than kept. A node joins the region of its users when they
read it at the same point of the same space; a node with one use, through views that repeat
nothing, is computed inside its user at the user's point; everything else is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphad.graph import Graph, Node

LARGEST_GROUP = 120
POINTWISE = ("loop", "gather")
SPECIAL = ("contract", "place", "scan", "scatter", "control", "routine")
VIRTUAL = ("const", "iota", "dim")
REDUCES = {"sum": "sum", "prod": "prod", "reduce_max": "max", "reduce_min": "min",
           "argmax": "argmax", "argmin": "argmin"}  # fmt: skip


@dataclass
class Group:
    """One future region: its space, and its members with the frame each is computed in."""

    position: int
    space: tuple
    members: dict[int, int] = field(default_factory=dict)  # node -> frame (0 is the group's own)


def kind_of(node: Node) -> str:
    """How a node is lowered."""
    return node.op.lowering


def is_plain_reshape(graph: Graph, node: Node) -> bool:
    """Whether a reshape only adds or drops axes of size 1."""
    before = [d for d in graph.nodes[node.args[0]].spec.shape if d != 1]
    return before == [d for d in node.spec.shape if d != 1]


def flat_source(graph: Graph, node: int) -> int:
    """Through views that change nothing in memory: the node whose elements are read in order."""
    while graph.nodes[node].op.name in ("reshape", "barrier"):
        node = graph.nodes[node].args[0]
    return node


class Fusion:
    """The state of one fusion: which nodes are stored, and the groups."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.groups: list[Group] = []
        self.group_of: dict[int, Group] = {}
        self.special_at: dict[int, int] = {}
        self.by_space: dict[tuple, list[Group]] = {}
        self.forced = self._forced()
        self.uses = self._uses()
        self.frames = 0
        self.last_position = 0

    def _forced(self) -> set[int]:
        """Nodes that must have a buffer whatever is fused."""
        graph, forced = self.graph, set()
        for node in graph.nodes:
            kind = kind_of(node)
            if kind in SPECIAL:
                forced.add(node.id)
            if kind in ("control", "routine"):
                forced.update(flat_source(graph, a) for a in node.args)
            elif kind in ("contract", "scatter"):
                forced.update(node.args)
            elif node.op.name == "pick":
                forced.add(node.id)
            elif kind == "gather" or node.op.name == "barrier" or self._copies(node):
                forced.add(node.args[0])
            elif kind == "reduce":
                forced.add(node.id)
        return forced | set(graph.outputs)

    def _copies(self, node: Node) -> bool:
        """Whether a reshape needs its source in one piece."""
        return node.op.name == "reshape" and not is_plain_reshape(self.graph, node)

    def _uses(self) -> dict[int, list[tuple[int, bool, bool]]]:
        """For each node: (user, read at the user's own point, through one-to-one views)."""
        graph = self.graph
        found: dict[int, list[tuple[int, bool, bool]]] = {n.id: [] for n in graph.nodes}
        for node in graph.nodes:
            if kind_of(node) in ("view",) and node.id not in self.forced:
                continue
            for arg in node.args:
                direct = kind_of(node) in ("loop", "reduce")
                one_to_one = node.op.name != "broadcast"
                while self._is_open_view(arg):
                    view = graph.nodes[arg]
                    direct = False
                    one_to_one = one_to_one and view.op.name != "broadcast"
                    if view.op.name == "barrier":
                        found[view.args[1]].append((node.id, False, False))
                    arg = view.args[0]
                found[arg].append((node.id, direct, one_to_one))
        return found

    def _is_open_view(self, node: int) -> bool:
        return kind_of(self.graph.nodes[node]) == "view" and node not in self.forced

    def place_all(self):
        """Assign every computing node to a group or a position, users before producers."""
        for node in reversed(self.graph.nodes):
            kind = kind_of(node)
            if kind in SPECIAL:
                if self.uses[node.id] or node.id in self.graph.outputs:
                    self.special_at[node.id] = self._new_position()
            elif (
                kind in POINTWISE or kind == "reduce" or (kind == "view" and node.id in self.forced)
            ):
                if self.uses[node.id] or node.id in self.graph.outputs:
                    self._place(node, kind)
            elif kind in VIRTUAL and node.id in self.forced:
                self._place(node, kind)

    def _new_position(self) -> int:
        self.last_position -= 1
        return self.last_position

    def position(self, node: int) -> int:
        """When a node's region runs; later is larger."""
        if node in self.special_at:
            return self.special_at[node]
        return self.group_of[node].position

    def _space(self, node: Node, kind: str) -> tuple:
        if kind == "reduce":
            return self.graph.nodes[node.args[0]].spec.shape
        return node.spec.shape

    def _placed_users(self, node: Node):
        return [u for u in self.uses[node.id] if u[0] in self.group_of or u[0] in self.special_at]

    def _place(self, node: Node, kind: str):
        space = self._space(node, kind)
        users = self._placed_users(node)
        if kind in POINTWISE and users:
            if self._inside_single_user(node, users):
                return
            group = self._shared_group(users)
            if group is not None and group.space == space and len(group.members) < LARGEST_GROUP:
                self._join(node, group, 0)
                return
        limit = min((self.position(u[0]) for u in users), default=1)
        alone = node.op.name in ("argmax", "argmin")
        group = None if alone else self._sibling(node, space, limit)
        if group is None:
            group = Group(self._new_position(), space)
            self.groups.append(group)
            if node.op.name in ("argmax", "argmin"):  # its loops are reordered: no siblings
                self._join(node, group, 0)
                return
            self.by_space.setdefault(space, []).append(group)
        self._join(node, group, 0)

    def _join(self, node, group, frame):
        group.members[node.id] = frame
        self.group_of[node.id] = group

    def _inside_single_user(self, node, users) -> bool:
        """Compute inside the only user, at its point, when that is through one-to-one views."""
        if node.id in self.forced or len(users) != 1:
            return False
        user, direct, one_to_one = users[0]
        group = self.group_of.get(user)
        if group is None or not one_to_one or len(group.members) >= LARGEST_GROUP:
            return False
        if direct:
            self._join(node, group, group.members[user])
            return True
        if kind_of(self.graph.nodes[user]) == "gather":
            return False
        self.frames += 1
        self._join(node, group, self.frames)
        return True

    def _shared_group(self, users):
        """The earliest user's group, if every user in it reads at its own point in one frame."""
        first = min(users, key=lambda u: self.position(u[0]))
        group = self.group_of.get(first[0])
        if group is None:
            return None
        for user, direct, _ in users:
            if self.group_of.get(user) is group and (not direct or group.members[user] != 0):
                return None
        return group

    def _sibling(self, node: Node, space, limit) -> Group | None:
        """Of the groups of this space that run before `limit`, the one that shares the most of what
        the node is made of; the latest of equals."""
        fits = [g for g in self.by_space.get(space, ())[-4:]
                if g.position < limit and len(g.members) < LARGEST_GROUP]  # fmt: skip
        if len(fits) < 2:
            return fits[0] if fits else None
        near = set(node.args)
        near.update(b for a in node.args for b in self.graph.nodes[a].args)
        shared = [sum(u[0] in g.members for n in near for u in self.uses[n]) for g in fits]
        return fits[shared.index(max(shared))]
