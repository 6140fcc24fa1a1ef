"""What a participant is asked: example commands with the answers that they must get, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from contracts.flaws import flaws_in_line
from oms.failures import Failure

TypeName = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
RoutingKey = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]
Step = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,50}$")]
Fields = dict[str, Any]

IDENTITIES: Final = ("saga_id", "order_id", "step", "direction")
"""Fields of every command that conformance fills in itself."""


class Part(BaseModel):
    """Base of what a file of example commands says: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(Part):
    """An answer that must come."""

    type: TypeName
    key: RoutingKey
    """Its routing key on oms.events."""


class Rejection(Answer):
    """A business rejection, and the body of a command that gets it."""

    body: Fields


class Compensation(Part):
    """The command that undoes the work, and its answer."""

    command: TypeName
    body: Fields = {}
    answer: Answer


class Example(Part):
    """A kind of work: a command that succeeds, and what belongs to it.

    Attributes:
        body: the command's fields beside `IDENTITIES`. In its texts ``{saga_id}``, ``{order_id}`` and
            ``{step}`` stand for those of each piece of work.
        other_body: the same command with another payload.
        after: steps of other works here that must have succeeded in the saga before.
        needs: what must have been prepared for the command to succeed, in a person's words.
    """

    step: Step
    command: TypeName
    body: Fields = {}
    success: Answer
    other_body: Fields | None = None
    rejection: Rejection | None = None
    compensation: Compensation | None = None
    after: tuple[Step, ...] = ()
    needs: str = ""

    @model_validator(mode="after")
    def _no_identities(self) -> Self:
        bodies = {
            "body": self.body,
            "other_body": self.other_body or {},
            "rejection.body": self.rejection.body if self.rejection else {},
            "compensation.body": self.compensation.body if self.compensation else {},
        }
        for name, fields in bodies.items():
            if given := [each for each in IDENTITIES if each in fields]:
                raise ValueError(f"{name}: {', '.join(given)} are filled in by conformance itself")
        if self.other_body == self.body:
            raise ValueError("other_body is the same as body")
        return self

    @property
    def forward_types(self) -> set[str]:
        """Types of the events that answer the command."""
        return {self.success.type} | ({self.rejection.type} if self.rejection else set())


class Repertoire(Part):
    """All that one participant does."""

    works: Annotated[tuple[Example, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _steps_are_known(self) -> Self:
        steps = [each.step for each in self.works]
        if len(set(steps)) < len(steps):
            raise ValueError("works: each step may stand there once")
        earlier: set[str] = set()
        for each in self.works:
            if missing := [step for step in each.after if step not in earlier]:
                raise ValueError(
                    f"works: {each.step} is after {', '.join(missing)}, which must stand before it"
                )
            earlier.add(each.step)
        return self

    def before(self, example: Example) -> list[Example]:
        """What must have succeeded in a saga before this work, in order."""
        return [each for each in self.works if each.step in example.after]


def filled(fields: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
    """Fields with the ids and the step of one piece of work in the places that stand for them."""

    def each(value: Any) -> Any:
        match value:
            case str():
                for name in ("saga_id", "order_id", "step"):
                    value = value.replace(f"{{{name}}}", identity[name])
                return value
            case dict():
                return {name: each(part) for name, part in value.items()}
            case list():
                return [each(part) for part in value]
        return value

    return {name: each(value) for name, value in fields.items()}


E = TypeVar("E", bound=Part)


def read_repertoire(path: Path) -> Repertoire:
    """The example commands of a file. Raises Failure naming the field that is wrong."""
    return read_examples(path, Repertoire)


def read_examples(path: Path, model: type[E]) -> E:
    """What a JSON file says, checked. Raises Failure naming the field that is wrong."""
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise Failure(f"{path}: {flaws_in_line(error, 'file')}") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is not JSON: {error}") from None
