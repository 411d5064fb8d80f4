"""What all transforms share: a function in, a Function out, and known again when it is asked for
where it is called."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

from graphad.call.methods import is_method
from graphad.call.parameters import unknown_option
from graphad.call.recognise import key_of
from graphad.errors import TraceError
from graphad.function import Function, as_function, derived

MOST_RECOGNISED = 256  # functions written at the call
_RECOGNISED: dict[Any, Function] = {}
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
P = ParamSpec("P")


def transform(*extra: str) -> Callable[[Callable[P, Callable]], Callable[P, Function]]:
    """Decorates `make(f, ..., *, static=()) -> g`: f is a Function, and g, of f's arguments and the
    keywords `extra`, becomes one.

    The Function that is returned is kept: for a Function on itself, for a method with its object,
    for another function by its code and what it reads.
    """

    def decorate(make: Callable) -> Callable[P, Function]:
        @functools.wraps(make)
        def public(f, *args, **options):
            return _kept(make, extra, f, args, options)

        return public

    return decorate


def _kept(make, extra, f: Any, args, options) -> Function:
    if is_method(f):
        f = as_function(f)
    if type(f) is Function:
        store, key = f._made, ()
    else:
        key = key_of(f)
        store = _RECOGNISED if key is not None else {}
    key = (make, key, _frozen(args), _frozen(tuple(options.items())) if options else ())
    found = store.get(key)
    if found is None:
        found = _apply(make, extra, f, args, options)
        if store is _RECOGNISED and len(store) >= MOST_RECOGNISED:
            for old in list(store)[: MOST_RECOGNISED // 2]:
                store.pop(old, None)
        store[key] = found
    return found if found._family is None else found._holding(getattr(f, "_keeps", None))


def _frozen(value) -> Any:
    """Options of a transform in a form that can be looked up."""
    if isinstance(value, (list, tuple)):
        return (type(value), *map(_frozen, value)) if value else ()
    if isinstance(value, dict):
        return (dict, *[(k, _frozen(v)) for k, v in value.items()])
    return value


def _apply(make, extra, f, args, options) -> Function:
    name, own = make.__name__, inspect.signature(make)
    for option in options:
        if option not in own.parameters:
            raise unknown_option(name, option)
    if not callable(f):
        raise TraceError(
            f"ga.{name}", f"a {type(f).__name__} is not a function", expected="a function",
            got=repr(f)[:60], fix=f"ga.{name}(f)({repr(f)[:20]})",
        )  # fmt: skip
    static = options.get("static", ())
    static = (static,) if isinstance(static, (str, int)) else tuple(static)
    if static and isinstance(f, Function):
        held: dict[str, Any] = f._definition.options | {"static": (*f._static, *static)}
        f = Function(f._f, **held)
    elif not isinstance(f, Function):
        f = Function(f, static=static)
    f = f._holding(None)  # what is kept on f must not hold f itself
    g: Any = make(f, *args, **options)
    signature = f._python_signature
    parameters = list(signature.parameters.values())
    at = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        at -= 1
    keywords = [inspect.Parameter(n, _KEYWORD, default=None) for n in extra]
    g.__signature__ = signature.replace(parameters=parameters[:at] + keywords + parameters[at:])
    g.__name__ = g.__qualname__ = f"{name}({f.__name__})"
    g.__doc__ = f"{name} of {f.__name__}; made by graphad."
    (_, *given) = own.bind(f, *args, **options).arguments.items()
    public = getattr(sys.modules[make.__module__], name)  # which pickle finds by its name
    return derived(g, f, (public, f, dict(given)))
