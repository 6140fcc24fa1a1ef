"""What of a model would not be read as it was written is told, with the names of the model and the field."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    SecretStr,
    computed_field,
)
from typing_extensions import TypedDict

from contracts import orders, returns
from contracts.commands import COMMANDS
from contracts.events import EVENTS
from contracts.findable import absent
from contracts.legibility import document_problems, message_problems

T = TypeVar("T")
SET = "is a set, which each process writes in another order: use a tuple"
MISSED = "may be None, which is left out of a message and then missed: its default must be None"


class Tagged(BaseModel):
    tags: set[str] = set()


class Tags(RootModel[frozenset[str]]):
    pass


class Tree(BaseModel):
    branches: tuple[Tree, ...] = ()
    fruits: AnySet[str] = frozenset()


class Box(BaseModel, Generic[T]):
    content: T


class Pair(NamedTuple):
    left: set[int]


@dataclass
class Plain:
    marks: frozenset[int]


class Counted(BaseModel):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def kinds(self) -> set[str]:
        return {"a", "b"}


class Aliased(BaseModel):
    unit_price: int = Field(alias="unitPrice", default=1)


class AliasedByName(Aliased):
    model_config = ConfigDict(validate_by_name=True)


class WrittenByAlias(Aliased):
    model_config = ConfigDict(serialize_by_alias=True)


class Choosing(BaseModel):
    price: int = Field(validation_alias=AliasChoices("Price", AliasPath("prices", 0)), default=1)


class Nullable(BaseModel):
    tier: Annotated[str | None, Field(max_length=9)]


class Typed(TypedDict):
    tier: int | None
    may_lack: NotRequired[int | None]


def of(kind: Any, **field: Any) -> type[BaseModel]:
    """A model with one field of this kind."""
    return type("Made", (BaseModel,), {"__annotations__": {"it": kind}, "it": Field(**field)})


IN_DOCUMENTS: list[tuple[type[BaseModel], str]] = [
    (Tagged, f"Tagged.tags {SET}"),
    (of(tuple[Tagged, ...]), f"Tagged.tags {SET}"),
    (of(dict[str, list[frozenset[int]]]), f"Made.it {SET}"),
    (of(Sequence[set[int]] | None, default=None), f"Made.it {SET}"),
    (of(Tags), f"Tags.root {SET}"),
    (Tree, f"Tree.fruits {SET}"),
    (Box[set[int]], f"Box[set[int]].content {SET}"),
    (of(Pair), f"Made.it {SET}"),
    (of(Plain), f"Plain.marks {SET}"),
    (Counted, f"Counted.kinds {SET}"),
    (
        of(Aliased),
        "Aliased.unit_price is written as 'unit_price' and read as 'unitPrice' alone: "
        "say ConfigDict(validate_by_name=True) in Aliased, or drop the alias",
    ),
    (
        Choosing,
        "Choosing.price is written as 'price' and read as 'Price' alone: "
        "say ConfigDict(validate_by_name=True) in Choosing, or drop the alias",
    ),
]

IN_MESSAGES: list[tuple[type[BaseModel], str]] = [
    *IN_DOCUMENTS,
    (of(tuple[Nullable, ...]), f"Nullable.tier {MISSED}"),
    (of(Literal["a", None]), f"Made.it {MISSED}"),
    (of(int | str | None), f"Made.it {MISSED}"),
    (of(Typed), f"Typed.tier {MISSED}"),
    (
        of(str | None, default="basic"),
        "Made.it may be None, which is left out of a message and then read as 'basic': "
        "its default must be None",
    ),
    (
        of(str, exclude_if=absent),
        "Made.it may be left out of a message and is then missed: give it a default",
    ),
    (of(str, exclude=True), "Made.it may be left out of a message and is then missed: give it a default"),
    (
        of(SecretStr),
        "Made: it has a secret, which is written as asterisks: use a text that is marked as sensitive",
    ),
]


@pytest.mark.parametrize(("model", "said"), IN_DOCUMENTS, ids=[said for _, said in IN_DOCUMENTS])
def test_what_is_wrong_with_a_document_is_told(model: type[BaseModel], said: str) -> None:
    assert list(document_problems(model)) == [said]


@pytest.mark.parametrize(("model", "said"), IN_MESSAGES, ids=[said for _, said in IN_MESSAGES])
def test_what_is_wrong_with_a_message_is_told(model: type[BaseModel], said: str) -> None:
    assert list(message_problems(model)) == [said]


@pytest.mark.parametrize(
    "model",
    [
        of(tuple[str, ...]),
        of(Annotated[set[str], PlainSerializer(sorted)]),
        AliasedByName,
        WrittenByAlias,
        of(int | None, default=None),
        of(tuple[int | None, ...]),
        of(dict[str, int | None]),
        of(tuple[int, ...], default=(), exclude_if=absent),
        *COMMANDS.values(),
        *EVENTS.values(),
    ],
    ids=lambda model: model.__name__,
)
def test_what_is_read_as_it_was_written_is_let_pass(model: type[BaseModel]) -> None:
    assert list(message_problems(model)) == []


def test_a_document_may_have_fields_that_are_none_and_have_no_default() -> None:
    assert list(document_problems(Nullable, None, "no model")) == []


def test_orders_and_returns_can_be_read() -> None:
    found = [each for room in (orders, returns) for each in vars(room).values()]
    assert list(document_problems(*(each for each in found if each is not BaseModel))) == []
