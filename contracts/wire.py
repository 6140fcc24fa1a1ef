"""How messages are written and what they say: the one place for all who write a message or take one apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, ValidationError
from pydantic_core import to_jsonable_python

from contracts.flaws import field_flaws
from contracts.one_line import kind_and_line

IDENTITIES: Final = ("saga_id", "order_id", "step", "direction")
"""The fields of a message that say whose it is, and nothing of what it tells."""


def written(message: BaseModel) -> bytes:
    """The body of a message: its fields by their names, without those that are None."""
    return message.model_dump_json(exclude_none=True).encode()


def said(message: BaseModel) -> dict[str, Any]:
    """What a message says beside its identities, as plain values: every field, by its name.

    Those that have their default are among them, or what a saga remembers would depend on who reads it; so
    are those that are not written where they say nothing.
    """
    plain = _plain(message)
    return {name: value for name, value in plain.items() if name not in IDENTITIES}


def misread(message: BaseModel) -> list[str]:
    """What of a message would not be read as it was meant; nothing where it is read back as it was."""
    try:
        again = type(message).model_validate_json(written(message))
        meant, read = _plain(message), _plain(again)
    except ValidationError as error:
        return [f"as it is written, {flaw}" for flaw in field_flaws(error)]
    except Exception as error:
        return [f"it cannot be written: {kind_and_line(error)}"]
    unfit = next(_unfit_in(message.model_dump()), None)
    if unfit is not None:
        return [unfit]
    return [f"{name} reads otherwise than it was written" for name in meant if meant[name] != read.get(name)]


def _plain(message: BaseModel) -> dict[str, Any]:
    plain = message.model_dump(mode="json", by_alias=False)
    silent = [name for name in type(message).model_fields if name not in plain]
    return plain | {name: to_jsonable_python(getattr(message, name)) for name in silent}


def _unfit_in(value: object) -> Iterator[str]:
    """What is wrong with values that JSON can hold only in appearance."""
    if isinstance(value, set | frozenset):
        yield "it has a set, which each process writes in another order: use a tuple"
    elif isinstance(value, SecretStr | SecretBytes | Secret):
        yield "it has a secret, which is written as asterisks: use a text that is marked as sensitive"
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _unfit_in(each)
