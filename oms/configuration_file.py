"""Settings from one file in TOML, which `OMS_CONFIG` names: as the variables are called, in small letters.

Whatever a variable says, or the file that a variable names, goes before it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from oms.setting_files import MAX_BYTES, SUFFIX, InvalidSettingFile, read_file
from oms.variables import CONFIG, PREFIX, SETTINGS

VARIABLE: Final = CONFIG

DATABASE_OF_OTHERS: Final = "_database_url"
"""Ends the key of an installed participant's database."""

_KEYS: Final = frozenset(name.removeprefix(PREFIX).lower() for name in SETTINGS)
_SECRET: Final = ("token", "secret", "_url", "tokens")
_WORDS: Final = {True: "yes", False: "no"}


class ConfigurationFile(PydanticBaseSettingsSource):
    """The source of what the file says.

    Raises:
        InvalidSettingFile: the file cannot be used, or has a key that there is not.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """See `PydanticBaseSettingsSource.get_field_value`."""
        return configured().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the file says, by field."""
        return {name: text for name, text in configured().items() if name in self.settings_cls.model_fields}


def configured() -> dict[str, str]:
    """What the file says, by key, as variables would say it; nothing where no file is named.

    Raises:
        InvalidSettingFile: naming the file and the key, never a value.
    """
    path = _path()
    if path is None:
        return {}
    given = _read(path)
    for name in given:
        if f"{name}{SUFFIX.lower()}" in given:
            raise InvalidSettingFile(f"{path}: {name} and {name}{SUFFIX.lower()} are both set: take one away")
    return dict(_setting(path, key, value) for key, value in given.items())


def origin(field: str) -> str:
    """What a person has to correct: the variable, or the key of the file where no variable says anything."""
    variable = f"{PREFIX}{field.upper()}"
    names = {name.upper() for name, value in os.environ.items() if value}
    if _path() is None or {variable, variable + SUFFIX} & names or field not in configured():
        return variable
    return f"{_path()}: {field}"


def readable_by_all() -> Iterator[str]:
    """A sentence where the file has secrets in it and everybody on this machine may read it."""
    path = _path()
    try:
        if path is None or not path.stat().st_mode & stat.S_IROTH:
            return
        held = [key for key in _read(path) if key.endswith(_SECRET)]
    except (OSError, InvalidSettingFile):
        return  # said where the settings are read
    if held:
        yield f"{path} holds {held[0]}, and everybody on this machine may read it: chmod o-r {path}"


def _path() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InvalidSettingFile(f"{VARIABLE}: {path} has more than {MAX_BYTES} bytes")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise InvalidSettingFile(f"{VARIABLE}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingFile(f"{VARIABLE}: {path} is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettingFile(f"{VARIABLE}: {path} is no TOML: {_where(error)}") from None


def _where(error: tomllib.TOMLDecodeError) -> str:
    """What is wrong and where, without a piece of the file."""
    said = str(error)
    return said if "'" not in said else f"something stands where it must not{said[said.rfind(' (') :]}"


def _setting(path: Path, key: str, value: Any) -> tuple[str, str]:
    """The name of the setting that a key is for, and what it says."""
    name = key.removesuffix(SUFFIX.lower())
    if name not in _KEYS and not name.endswith(DATABASE_OF_OTHERS):
        raise InvalidSettingFile(f"{path}: there is no setting {key}{_meant(key)}")
    text = _text(value)
    if text is None:
        raise InvalidSettingFile(f"{path}: {key}: allowed are a text, a number, a list or a table of them")
    return (name, read_file(f"{path}: {key}", Path(text))) if name != key else (name, text)


def _meant(key: str) -> str:
    known = sorted(_KEYS | {f"{name}{SUFFIX.lower()}" for name in _KEYS})
    near = get_close_matches(key.lower().removeprefix(PREFIX.lower()), known, n=1, cutoff=0.75)
    return f": did you mean {near[0]}?" if near else ""


def _text(value: Any) -> str | None:
    """A value as a variable would say it; None for what none can say."""
    match value:
        case list():
            return _joined(map(_word, value))
        case dict():
            return _joined(entry for name, held in value.items() for entry in _entries(name, held))
    return _word(value)


def _word(value: Any) -> str | None:
    """A value that is no list and no table."""
    if isinstance(value, bool):
        return _WORDS[value]
    return str(value) if isinstance(value, str | int | float) else None


def _entries(name: str, held: Any) -> Iterator[str | None]:
    for each in held if isinstance(held, list) else [held]:
        word = _word(each)
        yield f"{name}={word}" if word is not None else None


def _joined(given: Iterable[str | None]) -> str | None:
    parts = [part if part is not None and "," not in part else None for part in given]
    return None if None in parts else ",".join(filter(None, parts))
