"""A value of the model is as one that the library makes."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from dataclasses import field
from typing import Any

import pytest

from colossus_tui import model
from colossus_tui.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Quick:
    """One."""

    name: str
    limit: float = 1.5
    parts: tuple[str, ...] = field(default_factory=lambda: ("a",))
    note: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("no name")


@dataclasses.dataclass(frozen=True, slots=True)
class Slow:
    """The same, of the library's."""

    name: str
    limit: float = 1.5
    parts: tuple[str, ...] = field(default_factory=lambda: ("a",))
    note: str = field(default="", compare=False, repr=False)


def test_it_is_made_compared_shown_and_replaced_as_the_librarys() -> None:
    for one in (Quick("x", 2.0), Quick(name="x", limit=2.0, note="here")):
        assert one == Quick("x", 2.0, ("a",), note="there")
        assert hash(one) == hash(Quick("x", 2.0))
        assert repr(one).replace("Quick", "Slow") == repr(Slow("x", 2.0))
        assert dataclasses.asdict(one) == dataclasses.asdict(Slow("x", 2.0, note=one.note))
        assert dataclasses.replace(one, limit=3.0) == Quick("x", 3.0)
        assert pickle.loads(pickle.dumps(one)) == one
    assert Quick("x") != Quick("y")
    other: Any = Slow("x")
    assert Quick("x") != other
    assert not hasattr(Quick("x"), "__dict__")


def test_what_is_wrong_is_refused_from_the_first_value_on() -> None:
    make: Any = Quick
    for _ in range(2):
        with pytest.raises(ValueError, match="no name"):
            make("")
        with pytest.raises(TypeError, match="limits"):
            make("x", limits=1.0)


def test_the_whole_model_is_made_of_them() -> None:
    kinds = [one for one in vars(model).values() if dataclasses.is_dataclass(one)]
    assert len(kinds) > 50
    for kind in kinds:
        assert isinstance(kind, type)
        source = inspect.getsource(inspect.getmodule(kind) or kind)
        assert "from dataclasses import dataclass" not in source, kind
