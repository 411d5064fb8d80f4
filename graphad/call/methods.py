"""Methods: compiled once for each object, and for each state of what they read of it.

An object's compiled methods must not keep it alive: they know it by a weak reference, and go when
it goes. The handles that users hold keep it alive, as Python's bound methods do.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

from graphad.call.attributes import MOST_STATES, Attributes
from graphad.call.path import Calls

MOST_HELD = 16  # objects without weak references whose methods are kept


class Weak:
    """A method of an object known by a weak reference."""

    def __init__(self, function: Callable, instance):
        self.function, self.instance = function, instance
        for name in ("__name__", "__doc__", "__module__", "__qualname__"):
            setattr(self, name, getattr(function, name, None))

    @property
    def __signature__(self):
        import inspect

        from graphad.trace.run import signature_of

        whole = signature_of(self.function)
        return whole.replace(parameters=list(whole.parameters.values())[1:]) if isinstance(
            whole, inspect.Signature) else whole  # fmt: skip

    @property
    def __code__(self):
        return self.function.__code__

    @property
    def __globals__(self):
        return getattr(self.function, "__globals__", {})

    @property
    def __closure__(self):
        return getattr(self.function, "__closure__", None)

    def __call__(self, *args, **kwargs):
        return self.function(self.instance(), *args, **kwargs)


def is_method(f) -> bool:
    """Whether this is a method of an object, not of a class."""
    return isinstance(f, types.MethodType) and not isinstance(f.__self__, type)


class Member:
    """The calls in one state, and their native function, once there is one."""

    def __init__(self, definition):
        def on_native(native):
            self.call = native

        self.calls: Calls = definition.calls(on_native)
        self.call: Callable = self.calls.call


class Family:
    """The calls of a method, or of what is derived from one, in each state of its object."""

    def __init__(self, definition, attributes: Attributes):
        self.definition, self.states = definition, attributes
        self.attributes = dict(definition.attributes)  # of each handle
        self.members: dict[int, Member] = {}
        self.made: dict[Any, Any] = {}  # transforms of it

    def member(self) -> Member:
        """The one for the state that the object is in."""
        state = self.states.state()
        found = self.members.get(state)
        if found is None:
            if len(self.members) >= MOST_STATES:
                del self.members[min(self.members)]
            found = self.members[state] = Member(self.definition)
        return found

    def call(self, *args, **kwargs):
        """A call in the present state."""
        return self.member().call(*args, **kwargs)

    def call_of(self, instance, *args, **kwargs):
        """The same; the handle keeps the object alive by its first argument."""
        found = self.members.get(self.states.state())
        if found is None:
            found = self.member()
        return found.call(*args, **kwargs)

    def derived(self, definition) -> Family:
        """That of a function made from this one."""
        return Family(definition, self.states)


_FAMILIES: dict[int, tuple[Any, dict[Any, Family]]] = {}  # by the address of the object
_HELD: dict[int, None] = {}


def family_of(instance, function: Callable, define: Callable[[Weak], Any], key) -> Family:
    """The family of a method of an object, made at its first use."""
    entry = _FAMILIES.get(id(instance))
    if entry is None or entry[0]() is not instance:
        entry = _FAMILIES[id(instance)] = (_reference(instance), {})
    found = entry[1].get(key)
    if found is None:
        attributes = Attributes(entry[0], function)
        found = entry[1][key] = Family(define(Weak(function, entry[0])), attributes)
    return found


def _reference(instance) -> Callable[[], Any]:
    """A weak reference to an object; a strong one, for a while, where it has none."""
    address = id(instance)
    try:
        return weakref.ref(instance, lambda _: _FAMILIES.pop(address, None))
    except TypeError:
        _HELD[address] = None
        if len(_HELD) > MOST_HELD:
            oldest = next(iter(_HELD))
            del _HELD[oldest]
            _FAMILIES.pop(oldest, None)
        return lambda: instance
