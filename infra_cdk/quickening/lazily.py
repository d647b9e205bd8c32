"""The run-time part of quickened modules: patterns and dataclasses that are made when first used."""

from __future__ import annotations

import dataclasses
import re
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_lock = threading.RLock()


class Pattern:
    """A regular expression, compiled when one of its methods or attributes is first used."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._made = arguments, options

    def __getattr__(self, name: str) -> Any:
        arguments, options = self._made
        value = getattr(re.compile(*arguments, **options), name)
        setattr(self, name, value)
        return value


def dataclass(cls: Any = None, /, *, slots: bool = False, **options: Any) -> Any:  # noqa: ARG001
    """Make a dataclass whose methods are made with its first instance.

    It has no slots, because those need another class.
    """
    decorate: Callable[[Any], Any] = lambda found: _postpone(found, options)  # noqa: E731
    return decorate if cls is None else decorate(cls)


def _postpone(cls: Any, options: dict[str, Any]) -> Any:
    def complete_and_initialise(self: Any, *arguments: Any, **values: Any) -> None:
        _complete(type(self))
        type(self).__init__(self, *arguments, **values)

    cls.__init__ = complete_and_initialise
    cls._quickened = options
    return cls


def _complete(cls: Any) -> None:
    """Turn `cls` into a dataclass, and before it the classes from which it inherits.

    The class is never without an `__init__`: another thread may make an instance at any moment.
    """
    with _lock:
        for each in reversed(cls.__mro__):
            options = each.__dict__.get("_quickened")
            if options is not None:
                initialise = _initialiser(each, options)
                dataclasses.dataclass(**{**options, "init": False})(each)
                del each._quickened
                each.__init__ = initialise


def _initialiser(cls: Any, options: dict[str, Any]) -> Any:
    """Return the `__init__` of a dataclass, made for another class with the same fields."""
    names = ("__module__", "__qualname__", "__post_init__", "__orig_bases__", *cls.__annotations__)
    body = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    body |= {"__annotations__": cls.__annotations__, "__doc__": " "}
    other = type(cls)(cls.__name__, cls.__bases__, body)
    little = {"repr": False, "eq": False, "order": False, "match_args": False}
    return dataclasses.dataclass(**{**options, **little})(other).__init__
