"""`signature=`: the specs that a function is compiled for, whatever sizes it is called with."""

from __future__ import annotations

from typing import Any

from graphad.call.arguments import as_spec
from graphad.errors import ShapeError
from graphad.spec import Dim, Spec
from graphad.trace import pytree


class Signature:
    """Specs for the leaves of each argument; `...` stands for any, as called."""

    def __init__(self, name: str, given, device: str):
        entries = given if isinstance(given, (tuple, list)) and not _is_leaf(given) else (given,)
        self.name, self.device = name, device
        self.entries: list[Any] = []
        for entry in entries:
            leaves = [entry] if entry is ... else pytree.flatten(entry)[0]
            self.entries.append(
                ... if entry is ... else [x if x is ... else as_spec(x) for x in leaves]
            )

    @property
    def specs(self) -> tuple[Spec, ...] | None:
        """One spec for each leaf, where none is left open."""
        flat = [s for entry in self.entries if entry is not ... for s in entry]
        return None if ... in self.entries or ... in flat else tuple(flat)

    def fit(self, structure, specs: list[Spec]) -> list[Spec]:
        """The specs to compile for, from those of a call's leaves."""
        wanted = self._aligned(structure, len(specs))
        known: dict[str, int] = {}
        return [g if w is ... else self._checked(w, g, known)
                for w, g in zip(wanted, specs, strict=True)]  # fmt: skip

    def _aligned(self, structure, count: int) -> list[Any]:
        """What each leaf should be."""
        wanted: list[Any] = []
        sizes = [pytree.count(c) for c in structure.children]
        each = len(sizes) == len(self.entries)
        for k, entry in enumerate(self.entries):
            wanted += ([...] * (sizes[k] if each else 1)) if entry is ... else entry
        if len(wanted) != count:
            raise ShapeError(
                self.name, "the signature has another number of arrays than the call",
                expected=f"{len(wanted)}", got=f"{count}",
                fix="one ga.spec for each array argument, in the structure of the arguments",
            )  # fmt: skip
        return wanted

    def _checked(self, want: Spec, got: Spec, known: dict[str, int]) -> Spec:
        fits = want.ndim == got.ndim and (want.dtype == got.dtype or got.weak)
        for w, g in zip(want.shape, got.shape, strict=False):
            if isinstance(w, Dim):
                name = w.terms[0][0][0]
                fits = fits and known.setdefault(name, g) == g
            else:
                fits = fits and w == g
        if not fits:
            raise ShapeError(
                self.name, "an argument does not fit the signature", expected=str(want),
                got=f"{got}, with {known}" if known else str(got),
                fix="change the signature, or cast and reshape the argument",
            )  # fmt: skip
        # On a GPU programs are compiled for each size.
        return want if self.device == "cpu" else Spec(got.shape, want.dtype)


def _is_leaf(given) -> bool:
    """Whether a list is an example of one array."""
    return (
        isinstance(given, list) and bool(given) and all(isinstance(x, (int, float)) for x in given)
    )
