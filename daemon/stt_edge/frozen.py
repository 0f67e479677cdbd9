"""Immutable values with named fields: dataclasses that are quick to make.

A frozen dataclass has six methods compiled for it when its module is loaded. With 150 classes that
was more than half of the time a start takes, which on a small computer is seconds of deafness. Here
only ``__init__`` is compiled; the others are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """Make a dataclass with slots, which is compared, hashed and shown by its fields.

    That it stays as it was made is seen to by mypy, not while the program runs. Methods that the
    class defines itself are kept.
    """
    for name in ("__eq__", "__hash__", "__repr__"):
        if name not in cls.__dict__:
            setattr(cls, name, getattr(_Shared, name))
    made: Any = dataclass(repr=False, eq=False, slots=True)(cls)
    compared = [each.name for each in fields(made) if each.compare]
    made.__compared__ = staticmethod(attrgetter(*compared) if compared else type)
    return made  # type: ignore[no-any-return]


class _Shared:
    """The methods of all frozen classes."""

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(_key(self) == _key(other))

    def __hash__(self) -> int:
        return hash(_key(self))

    def __repr__(self: Any) -> str:
        shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _key(value: Any) -> Any:
    return value.__compared__(value)
