"""The parameters of a Python function: a call taken apart into leaves and structure, and back."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from graphad.call.arguments import positional_names, static_names
from graphad.errors import TraceError, Where
from graphad.trace import pytree

# What other libraries call what is called otherwise here.
ELSEWHERE = {
    "argnums": ("wrt", "which arguments to differentiate in"),
    "argnum": ("wrt", "which arguments to differentiate in"),
    "static_argnums": ("static", "names or positions of arguments that are not traced"),
    "static_argnames": ("static", "names or positions of arguments that are not traced"),
}


class Structure(NamedTuple):
    """A call without its leaves. `names` is None where the arguments are given by position alone,
    else those of the `children`; `statics` are (name, value) of the static ones."""

    children: tuple
    statics: tuple = ()
    names: tuple[str, ...] | None = None


class Parameters:
    """A signature, and which of its parameters are static."""

    def __init__(self, name: str, signature: inspect.Signature, static, where: Where | None):
        self.name, self.signature, self.where = name, signature, where
        self.static = static_names(signature, static)
        self.own_out = "out" in signature.parameters  # its own, not where to write the result

    def split(self, args, kwargs) -> tuple[list, Structure]:
        """The leaves of a call, and its structure."""
        leaves: list[Any] = []
        if not self.static and not kwargs:
            children = tuple([pytree.flatten(a, leaves, True)[1] for a in args])
            alone = [a for a, c in zip(args, children, strict=True) if c is pytree.LEAF]
            if not any(map(pytree.is_option, alone)):
                return leaves, Structure(children)
        return self._bound(args, kwargs)

    def _bound(self, args, kwargs) -> tuple[list, Structure]:
        leaves: list[Any] = []
        children, statics, names = [], [], []
        for name, value in self.bind(args, kwargs).arguments.items():
            if name in self.static:
                statics.append((name, pytree.Static(self._hashable(name, value))))
                continue
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                parts = [pytree.flatten_child(v, leaves, True) for v in value.values()]
                tree = pytree.Tree("dict", tuple(value), tuple(parts))
            else:
                tree = pytree.flatten_child(value, leaves, True)
            names.append(name)
            children.append(tree)
        return leaves, Structure(tuple(children), tuple(statics), tuple(names))

    def _hashable(self, name: str, value):
        try:
            hash(value)
        except TypeError:
            raise TraceError(
                self.name, f"the static argument '{name}' is not hashable",
                expected="a hashable value, e.g. a tuple",
                got=type(value).__name__, fix=f"{name}=tuple(...)",
            ) from None  # fmt: skip
        return value

    def join(self, structure: Structure, leaves) -> tuple[Any, dict]:
        """args, kwargs of a call from its structure and leaves."""
        it = iter(leaves)
        values = [pytree.build(c, it) for c in structure.children]
        if structure.names is None:
            return values, {}
        dynamic = dict(zip(structure.names, values, strict=True))
        dynamic |= {name: s.value for name, s in structure.statics}
        order = {n: dynamic[n] for n in self.signature.parameters if n in dynamic}
        call = inspect.BoundArguments(self.signature, order)  # type: ignore[arg-type]
        return call.args, call.kwargs

    def bind(self, args, kwargs) -> inspect.BoundArguments:
        """The arguments under their names, or an error that says what the function takes."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise self._unfit(error, kwargs) from None

    def _unfit(self, error: TypeError, kwargs) -> TraceError:
        fix = f"call it as {self.name}{self.signature}"
        for name in kwargs:
            ours, what = ELSEWHERE.get(name, (None, ""))
            if ours and name not in self.signature.parameters:
                fix = f"{ours}= says {what}, given where the function is made"
        return TraceError(
            self.name, f"the arguments do not fit the function: {error}",
            expected=str(self.signature),
            got=f"the keywords {', '.join(kwargs)}" if kwargs else "too many or too few",
            fix=fix,
        )  # fmt: skip

    def names(self, structure: Structure) -> list[str]:
        """A name for each leaf."""
        children = structure.children
        names = structure.names
        if names is None:
            names = positional_names(self.signature, len(children))
        return [
            n if pytree.count(c) == 1 else f"{n}.{i}"
            for n, c in zip(names, children, strict=True)
            for i in range(pytree.count(c))
        ]


def unknown_option(what: str, name: str) -> TraceError:
    """The error for a keyword of a transform that another library has."""
    ours, meaning = ELSEWHERE.get(name, (None, ""))
    fix = f"{ours}= says {meaning}" if ours else f"help(ga.{what})"
    return TraceError(f"ga.{what}", f"there is no option {name!r}", got=f"{name}=", fix=fix)
