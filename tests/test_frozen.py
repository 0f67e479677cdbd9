"""Frozen values: dataclasses in all but the time it takes to make them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from stt_edge.frozen import frozen, frozen_and_compiled


@frozen
class Point:
    x: int
    y: int = 0


@frozen
class Other:
    x: int
    y: int = 0


@frozen
class Placed(Point):
    name: str = ""


@frozen
class Nothing:
    pass


@frozen
class Call:
    url: str
    key: str = field(default="", repr=False)
    tried: int = field(default=0, compare=False)
    words: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.url


@frozen
class Named:
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.name.lower() == other.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())

    def __repr__(self) -> str:
        return f"<{self.name}>"


@frozen_and_compiled
class Often:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True)
class Standard:
    url: str
    key: str = field(default="", repr=False)
    words: dict[str, int] = field(default_factory=dict)


def test_values_of_one_class_are_equal_where_their_fields_are() -> None:
    assert Point(1, 2) == Point(x=1, y=2)
    assert Point(1, 2) != Point(1, 3)
    assert Nothing() == Nothing()
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert len({Point(1), Point(1), Point(2), Nothing(), Nothing()}) == 3


@pytest.mark.parametrize("other", [Other(1, 2), Placed(1, 2), (1, 2), None, Nothing()])
def test_values_of_another_class_are_never_equal(other: Any) -> None:
    assert Point(1, 2) != other
    assert other != Point(1, 2)


def test_a_field_may_be_left_out_of_the_comparison() -> None:
    assert Call("a", tried=1) == Call("a", tried=2)
    assert Call("a", key="k") != Call("a")


def test_a_value_that_holds_a_dict_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Call("a"))


def test_it_is_shown_as_dataclasses_are_and_a_secret_is_not() -> None:
    standard = repr(Standard("wss://a", "hidden", {"b": 1}))
    ours = repr(Call("wss://a", "hidden", words={"b": 1}))
    assert ours == standard.replace("Standard(", "Call(").replace(", words", ", tried=0, words")
    assert "hidden" not in ours
    assert str(Call("wss://a")) == "wss://a"


@pytest.mark.parametrize("made", [Point, Often])
def test_it_is_made_of_its_fields_by_place_or_by_name(made: Any) -> None:
    assert (made(1).x, made(1).y) == (1, 0)
    assert made(1, 2) == made(1, y=2) == made(y=2, x=1)


@pytest.mark.parametrize("made", [Point, Often])
@pytest.mark.parametrize(
    ("positional", "named"),
    [((), {}), ((), {"y": 1}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})],
    ids=["nothing", "one is missing", "too many", "twice", "unknown"],
)
def test_other_arguments_are_refused(
    made: Any, positional: tuple[int, ...], named: dict[str, int]
) -> None:
    with pytest.raises(TypeError, match=made.__name__):
        made(*positional, **named)


def test_a_default_is_made_anew_for_every_value() -> None:
    assert Call("a").words is not Call("a").words


def test_methods_of_the_class_itself_are_kept() -> None:
    assert Named("A") == Named("a")
    assert repr(Named("A")) == "<A>"
    assert len({Named("A"), Named("a")}) == 1


def test_a_subclass_is_compared_and_shown_with_all_its_fields() -> None:
    assert Placed(1, 2, "here") != Placed(1, 2, "there")
    assert repr(Placed(1)) == "Placed(x=1, y=0, name='')"


def test_it_is_a_dataclass_to_everybody_else() -> None:
    point = Point(1)
    assert dataclasses.replace(point, y=5) == Point(1, 5)
    assert dataclasses.asdict(point) == {"x": 1, "y": 0}
    assert not hasattr(point, "__dict__")
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0)


@pytest.mark.parametrize("value", [Point(1, 2), Placed(1, 2, "here"), Call("a", words={"b": 1})])
def test_it_can_be_copied_and_pickled(value: Any) -> None:
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
