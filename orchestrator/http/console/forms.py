"""What browsers send: query strings and forms, empty fields left out, wrong ones named in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from contracts.limits import PRINTABLE
from contracts.media_types import FORM, require
from contracts.problems import ProblemError, field_error

M = TypeVar("M", bound=BaseModel)

MAX_FIELDS: Final = 100


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that say something.

    Raises:
        ProblemError: 415 for another kind of body, 400 for one that cannot be read.
    """
    require(FORM, request.headers)
    try:
        text = (await request.body()).decode("ascii")
        fields = parse_qsl(text, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise ProblemError(400, "malformed_form", "The form cannot be read.") from None
    # Browsers send a line break as two characters, whatever was typed.
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def query_of(request: Request, model: type[M]) -> M:
    """The filters in the address; empty ones are none.

    Raises:
        ProblemError: 422, naming the fields that are wrong.
    """
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if value.strip():
            given.setdefault(name, []).append(value.strip())
    return checked(model, {name: _shaped(model, name, values) for name, values in given.items()})


def checked(model: type[M], fields: Mapping[str, object]) -> M:
    """The model of what was filled in, where numbers are text. Raises ProblemError (422) naming fields."""
    try:
        return model.model_validate(fields, strict=False)
    except ValidationError as error:
        wrong = {_named(each["loc"]): _why(each) for each in error.errors(include_input=False)}
        whys = " ".join(f"{_listed([name]).capitalize()}: {why}." for name, why in sorted(wrong.items()))
        detail = f"This cannot be used: {_listed(sorted(wrong))}. {whys} Nothing was done."
        raise ProblemError(422, "invalid", detail) from None


def _named(place: tuple[int | str, ...]) -> str:
    """The field that is wrong, within whatever it stands in."""
    return [str(part) for part in place if isinstance(part, str)][-1]


def chosen(form: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those fields of a form that a model takes."""
    return {name: form[name] for name in names if name in form}


def _shaped(model: type[BaseModel], name: str, values: list[str]) -> object:
    field = model.model_fields.get(name)
    # What is no field of its own may be `metadata.KEY`; the model says so, and may take several of them.
    if field is None or get_origin(field.annotation) in (list, dict):
        return values
    is_time = any("datetime" in str(part) for part in get_args(field.annotation))
    return _in_utc(values[-1]) if is_time else values[-1]


def _in_utc(moment: str) -> str:
    """A time as browsers write it has no zone; everything here is UTC."""
    has_zone = moment.endswith(("Z", "z")) or "+" in moment or moment.count("-") > 2
    return moment if has_zone else f"{moment}Z"


def _why(error: ErrorDetails) -> str:
    """What is wrong with a field, for people; never what was sent."""
    if error["type"] == "missing":
        return "it is needed"
    if error.get("ctx", {}).get("pattern") == PRINTABLE:
        return "it may have no line breaks and no other control characters"
    said = field_error(error["loc"], error["type"], error["msg"]).detail
    return _WHAT_IT_IS.sub("it should", said)


_WHAT_IT_IS: Final = re.compile(r"^(String|Input|Value) should")


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
