"""Whether what an author wrote can be called as it will be: awaited, or not."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from functools import partial, partialmethod
from inspect import getattr_static, isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, get_origin, get_type_hints


def method_problems(owner: Any, awaited: Iterable[str] = (), plain: Iterable[str] = ()) -> Iterator[str]:
    """What is wrong with those of these methods that a class or an object has.

    Args:
        awaited: names of methods whose result is awaited.
        plain: names of those whose result is taken as it is.
    """
    for name in awaited:
        problem = _problem_of_awaited(_raw(owner, name))
        if problem is not None:
            yield f"{name} {problem}: write async def {name}(...)"
    for name in plain:
        problem = problem_of_plain(_raw(owner, name))
        if problem is not None:
            yield f"{name} {problem}: write def {name}(...)"


def problem_of_plain(function: Any) -> str | None:
    """Why a function cannot be called without awaiting what it returns; None where it can, or is none."""
    if function is not None and _yields(function):
        return "must return its result, not yield it"
    return "is not awaited" if function is not None and _is_async(function) else None


def _problem_of_awaited(function: Any) -> str | None:
    if function is None:
        return None
    if _yields(function):
        return "must return its result, not yield it"
    return None if _is_async(function) else "is awaited"


def _raw(owner: Any, name: str) -> Any:
    """What stands in the class, before it is bound: a `partialmethod` shows what it calls there alone."""
    return getattr_static(owner, name, None) or getattr(owner, name, None)


def _yields(function: Any) -> bool:
    return any(isgeneratorfunction(each) or isasyncgenfunction(each) for each in _layers(function))


def _is_async(function: Any) -> bool:
    """Whether any layer is a coroutine function, or says that it returns an awaitable.

    A decorator that is none itself hands on what the decorated function returns.
    """
    return any(iscoroutinefunction(each) or _says_awaitable(each) for each in _layers(function))


def _layers(function: Any) -> Iterator[Any]:
    """A function, or the ``__call__`` of an object, and all that it wraps, from the outside in."""
    while function is not None:
        while isinstance(function, partial | partialmethod | staticmethod | classmethod):
            inner = function.func if isinstance(function, partial | partialmethod) else function.__func__
            function = inner
        yield function
        yield getattr(type(function), "__call__", None)  # noqa: B004  it is looked at, not called
        function = getattr_static(function, "__wrapped__", None)


def _says_awaitable(function: Any) -> bool:
    try:
        said = get_type_hints(function).get("return")
    except Exception:  # what cannot be read says nothing; `declaring` tells of it where it matters
        return False
    kind = get_origin(said) or said
    return isinstance(kind, type) and issubclass(kind, Awaitable)
