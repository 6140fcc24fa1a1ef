"""What a model refuses of a document, in words: every field, and never a value, which may be sensitive."""

from __future__ import annotations

from pydantic import ValidationError


def field_flaws(error: ValidationError, whole: str = "body") -> list[str]:
    """What is wrong, field by field; ``whole`` stands for the document where it is no single one."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{'.'.join(map(str, each['loc'])) or whole}: {each['msg']}" for each in found]


def flaws_in_line(error: ValidationError, whole: str = "body") -> str:
    """The first five of them."""
    return "; ".join(field_flaws(error, whole)[:5])


def flaws_of_model(error: ValidationError) -> str:
    """The same behind the model's name."""
    return f"{error.title}: {flaws_in_line(error)}"
