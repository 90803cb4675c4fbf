"""`dataclasses.dataclass(frozen=True, slots=True)`, made in a quarter of the time.

The library writes and compiles six methods for each class, which for all of the model was a fifth
of the console's start. Here `__init__` alone is written, when the first value of a class is made;
the others are the same for every class. Types are checked as of the library's own, also that
nothing is assigned to; that is not refused at run time, so that a value is made in half the time.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Any:
        """Return the decorator; both must be asked for, as type checkers read them."""
        assert frozen
        assert slots
        return _made


def _made(cls: Any) -> Any:
    body = {name: value for name, value in vars(cls).items() if name not in _OF_EACH_CLASS}
    made: Any = dataclasses.dataclass(init=False, eq=False, repr=False, slots=True)(cls)
    fields, own = dataclasses.fields(made), vars(made)
    values = _getter([one.name for one in fields if one.compare])
    shown = [one.name for one in fields if one.repr]

    def __init__(self: Any, *args: Any, **more: Any) -> None:
        whole: Any = dataclasses.dataclass(eq=False, repr=False)(type(cls.__name__, (), body))
        made.__init__ = whole.__init__
        whole.__init__(self, *args, **more)

    def __eq__(self: Any, other: object) -> Any:
        is_one = other.__class__ is self.__class__
        return values(self) == values(other) if is_one else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    def __repr__(self: Any) -> str:
        texts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({texts})"

    for method in (__init__, __eq__, __hash__, __repr__):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return made


_OF_EACH_CLASS = ("__dict__", "__weakref__")


def _getter(names: list[str]) -> Any:
    return attrgetter(*names) if names else lambda _: ()
