"""Settings that are given as files: ``OMS_X_FILE`` names one that holds what ``OMS_X`` would say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from oms.failures import Failure

SUFFIX: Final = "_FILE"
MAX_BYTES: Final = 65536
"""More than any URL or token; a folder, a device or a wrong file is noticed instead of read."""


class InvalidSettingFile(Failure):
    """A file of a setting cannot be used; the message names the variable, never what the file holds."""


class SettingFiles(PydanticBaseSettingsSource):
    """The source of every setting whose variable, with `SUFFIX` at its end, names a file.

    White space around what a file holds, such as the line's end, is no part of it, nor is a mark of the
    order of bytes.

    Raises:
        InvalidSettingFile: a file cannot be read or is empty, or the variable itself is given too.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """See `PydanticBaseSettingsSource.get_field_value`."""
        variable = f"{self.config['env_prefix']}{field_name}".upper()
        return read_file_of(variable), field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the files hold, by field."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self._fields.items()}
        return {name: text for name, text in found.items() if text is not None}

    @property
    def _fields(self) -> dict[str, FieldInfo]:
        return self.settings_cls.model_fields


def read_variable(variable: str) -> str | None:
    """What a variable or its file says; None where neither is given. Raises InvalidSettingFile."""
    return read_file_of(variable) or os.environ.get(variable)


def read_file_of(variable: str) -> str | None:
    """What the file of a variable holds; None where none is named. Raises InvalidSettingFile."""
    path = os.environ.get(variable + SUFFIX)
    if not path:
        return None
    if os.environ.get(variable):
        raise InvalidSettingFile(f"{variable} and {variable}{SUFFIX} are both set: take one away")
    return read_file(variable + SUFFIX, Path(path))


def read_file(variable: str, path: Path) -> str:
    """What a file holds that ``variable`` names. Raises InvalidSettingFile."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise InvalidSettingFile(f"{variable}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingFile(f"{variable}: {path} is no text in UTF-8") from None
    if not text or len(content) > MAX_BYTES:
        raise InvalidSettingFile(f"{variable}: {path} must hold 1 to {MAX_BYTES} bytes of text")
    return text
