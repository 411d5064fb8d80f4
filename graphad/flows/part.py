"""Parts of flows: frozen values whose arrays are parameters; other fields are structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

import graphad as ga
from graphad.errors import DTypeError, ParameterError, ShapeError
from graphad.flows.constraints import Constraint

KINDS: dict[str, type[Part]] = {}


class Part:
    """A frozen pytree with named fields.

    `children` are the names of the fields that hold arrays, other parts, tuples or dicts of them,
    or None; `settings` those of hashable values, which are part of what is compiled. A class states
    both and sets every field in its `__init__` by `_set`.
    """

    children: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()
    derived: ClassVar[tuple[str, ...]] = ()  # settings that are not written to files
    constraints: ClassVar[dict[str, Constraint]] = {}  # domains that training keeps fields in

    if TYPE_CHECKING:  # the fields that `_set` makes

        def __getattr__(self, name) -> Any: ...

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        KINDS[kind_of(cls)] = cls
        ga.register_pytree(cls, _flattened, lambda extra, values: _rebuilt(cls, extra, values))

    def _set(self, **fields):
        self.__dict__.update(fields)

    def __setattr__(self, name, value):
        raise AttributeError(
            f"a {type(self).__name__} does not change; .replace(params) gives another one"
        )

    def _loaded(self):
        """Make again what is not written to files; called by `load`."""

    def __getstate__(self):
        names = (*self.children, *self.settings)
        return {n: self.__dict__[n] for n in names}

    def __setstate__(self, fields):
        self.__dict__.update(fields)

    def __repr__(self):
        fields = [(n, self.__dict__.get(n)) for n in (*self.settings, *self.children)]
        shown = [f"{n.lstrip('_')}={_shown(v)}" for n, v in fields if v is not None]
        return f"{type(self).__name__}({', '.join(shown)})"

    def context_needs(self) -> frozenset:
        """Features of a context that its parts take; 'may' or 'must' of what is not known."""
        found = frozenset() if is_own(type(self)) else frozenset(["may"])
        return found.union(*[_needs(self.__dict__[n]) for n in self.children])

    def save(self, path, functions=None):
        """Write to a file: see `graphad.flows.storage.save`."""
        from graphad.flows.storage import save

        save(self, path, functions)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters: a dict of arrays by their place, such as 'bijector.parts.0.scale'.

        A part that is used twice is named by its first place.
        """
        return {p.first: p.value for p in places_of(self)}

    def replace(self, params: dict[str, Any]):
        """The same part with other parameters, for all or some of the names of `params`.

        A part that is used twice stays one. Raises ShapeError for a name that is not there, or an
        array of another shape.
        """
        places = {p.name: p for p in places_of(self)}
        given = {p.first: p.value for p in places.values()}
        for name, value in params.items():
            if name not in places:
                raise ShapeError(
                    f"{type(self).__name__}.replace", f"there is no parameter '{name}'",
                    expected=", ".join(list(given)[:6]) + (", ..." if len(given) > 6 else ""),
                    got=f"'{name}'", fix="the names of .params",
                )  # fmt: skip
            known = tuple(places[name].value.shape)
            if tuple(np.shape(value)) != known:
                raise ShapeError(
                    f"{type(self).__name__}.replace", f"the parameter '{name}' has another shape",
                    expected=str(known), got=str(tuple(np.shape(value))),
                    fix="an array of the shape that .params has",
                )  # fmt: skip
            given[places[name].first] = value
        return replaced(self, given)


class Place(NamedTuple):
    """A parameter where it stands; `first` is the name of the first place of the same part's."""

    name: str
    first: str
    value: Any
    constraint: Constraint | None


def places_of(part, once: bool = True) -> list[Place]:
    """All places of parameters; with `once` False a part that is used twice counts as two."""
    found: list[Place] = []
    firsts: dict[int, str] = {}

    def walk(value, name, first, constraint):
        if value is None:
            return
        items = _items(value)
        if items is None:
            found.append(Place(name, first, value, constraint))
            return
        domains = {}
        if isinstance(value, Part):
            domains = value.constraints
            first = firsts.setdefault(id(value), first) if once else name
        for k, child in items:
            here, one = (f"{n}.{k}" if n else k for n in (name, first))
            walk(child, here, one, domains.get(k))

    walk(part, "", "", None)
    return found


def replaced(part, given: dict[str, Any], once: bool = True) -> Any:
    """The part with the values given by the names of first places."""
    made: dict[int, Any] = {}

    def build(value, name):
        if value is None:
            return None
        items = _items(value)
        if items is None:
            return given[name]
        if once and id(value) in made:
            return made[id(value)]
        children = [build(c, f"{name}.{k}" if name else k) for k, c in items]
        if isinstance(value, Part):
            extra = tuple(value.__dict__[n] for n in value.settings)
            made[id(value)] = fresh = _rebuilt(type(value), extra, children)
            return fresh
        if isinstance(value, dict):
            return dict(zip(value, children, strict=True))
        return tuple(children)

    return build(part, "")


def _needs(value) -> frozenset:
    if isinstance(value, Part):
        return value.context_needs()
    return frozenset().union(*[_needs(v) for _, v in _items(value) or ()])


def is_own(cls: type) -> bool:
    """Whether a class is graphad's, whose fields are known."""
    return cls.__module__.startswith("graphad.")


def kind_of(cls: type) -> str:
    """The name of a class in files; those of others have their module's before it."""
    return cls.__name__ if is_own(cls) else f"{cls.__module__}.{cls.__qualname__}"


def _shown(value) -> str:
    """A field in a `repr`, arrays as their dtype and shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) + "}"
    if type(value) is tuple:
        return "(" + ", ".join(map(_shown, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _flattened(part: Part):
    values = tuple([part.__dict__[n] for n in part.children])
    return values, tuple([part.__dict__[n] for n in part.settings])


def _rebuilt(cls, extra, values):
    made = object.__new__(cls)
    made.__dict__.update(zip(cls.children, values, strict=True))
    made.__dict__.update(zip(cls.settings, extra, strict=True))
    return made


def _items(value):
    """(name, value) of what a part, tuple or dict holds; None for a leaf."""
    if isinstance(value, Part):
        return [(n, value.__dict__[n]) for n in value.children]
    if isinstance(value, (tuple, list)):
        return [(str(k), v) for k, v in enumerate(value)]
    if isinstance(value, dict):
        return list(value.items())
    return None


class Constant:
    """An array that is part of the structure: hashable, not a parameter."""

    __slots__ = ("_hash", "array")

    def __init__(self, array):
        array = np.array(array)
        array.setflags(write=False)
        self.array = array
        self._hash = hash((array.shape, array.dtype.str, array.tobytes()))

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        return (isinstance(other, Constant) and self._hash == other._hash
                and self.array.dtype == other.array.dtype
                and np.array_equal(self.array, other.array))  # fmt: skip

    def __reduce__(self):
        return (Constant, (self.array,))

    def __repr__(self):
        return f"Constant({self.array.dtype}{list(self.array.shape)})"


def positive(operation: str, **parameters) -> None:
    """Raise where a parameter that is known has an element that is not positive."""
    for name, value in parameters.items():
        if not hasattr(value, "spec") and not (value > 0).all():
            raise ParameterError(operation, f"{name} must be positive", expected=f"{name} > 0",
                                 got=f"{name} with {np.min(value):.6g} in it",
                                 fix=f"np.abs({name}), or np.exp of a free parameter")  # fmt: skip


def as_parameter(operation: str, value, dtype=None):
    """A float array (or traced value) from a number, a list or an array."""
    if hasattr(value, "spec"):
        return value if dtype is None else value.astype(np.dtype(dtype))
    value = np.asarray(value)
    if value.dtype.kind not in "fiub":
        raise DTypeError(operation, "parameters are real numbers", expected="float64 or float32",
                         got=str(value.dtype), fix="np.asarray(x, float)")  # fmt: skip
    if dtype is not None:
        return value.astype(np.dtype(dtype))
    return value if value.dtype.kind == "f" else value.astype(np.float64)
