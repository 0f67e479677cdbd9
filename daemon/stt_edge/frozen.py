"""Immutable values with named fields: dataclasses that are quick to make.

A frozen dataclass has six methods compiled for it when its module is loaded. For 150 classes that
took longer than anything else at the start, which on a small computer is seconds of deafness. Here
the classes share them.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, TypeVar, dataclass_transform

_SHARED: Final = ("__eq__", "__hash__", "__repr__")
_Class = TypeVar("_Class", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """Make a dataclass with slots, which is compared, hashed and shown by its fields.

    That it stays as it was made is seen to by mypy, not while the program runs. Methods that the
    class defines itself are kept.
    """
    return _made(cls, compiled=False)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_and_compiled(cls: _Class) -> _Class:
    """As ``frozen``, for what is made dozens of times a second: longer to load, quicker to use."""
    return _made(cls, compiled=True)


def _made(cls: _Class, *, compiled: bool) -> _Class:
    for name in _SHARED if compiled else ("__init__", *_SHARED):
        if name not in cls.__dict__:
            setattr(cls, name, getattr(_Shared, name))
    made: Any = dataclass(init=compiled, repr=False, eq=False, slots=True)(cls)
    made.__named__ = {each.name: each for each in fields(made)}
    compared = [name for name, each in made.__named__.items() if each.compare]
    made.__compared__ = staticmethod(attrgetter(*compared) if compared else type)
    return made  # type: ignore[no-any-return]


class _Shared:
    """The methods of all frozen classes."""

    def __init__(self: Any, *positional: Any, **named: Any) -> None:
        given = dict(zip(self.__named__, positional, strict=False), **named)
        if len(given) < len(positional) + len(named) or not given.keys() <= self.__named__.keys():
            raise TypeError(f"{type(self).__qualname__}: too many arguments, or unknown ones")
        for name, each in self.__named__.items():
            if name in given:
                value = given[name]
            elif each.default is not MISSING:
                value = each.default
            elif each.default_factory is not MISSING:
                value = each.default_factory()
            else:
                raise TypeError(f"{type(self).__qualname__}: {name} is missing")
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(_key(self) == _key(other))

    def __hash__(self) -> int:
        return hash(_key(self))

    def __repr__(self: Any) -> str:
        named = self.__named__.items()
        shown = [f"{name}={getattr(self, name)!r}" for name, each in named if each.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _key(value: Any) -> Any:
    return value.__compared__(value)
