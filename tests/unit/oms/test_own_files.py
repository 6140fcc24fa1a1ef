"""Files that this program makes for itself: there whole or not at all, and refused without content."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from oms.embedded.private_file import write_private
from oms.failures import Failure
from oms.settings import settings_of_code
from oms.tokens import admin_token_in

ON_A_FULL_DISK = """
import resource
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
{does}
"""


def on_a_full_disk(does: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process that can make files, and write nothing into them."""
    code = ON_A_FULL_DISK.format(does=does)
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_folder_s_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    made = admin_token_in(tmp_path / ".oms", settings_of_code())
    assert admin_token_in(tmp_path / ".oms", settings_of_code()) == made
    assert len(made.get_secret_value()) > 40
    assert stat.S_IMODE((tmp_path / ".oms/admin-token").stat().st_mode) == 0o600


def test_a_token_that_could_not_be_written_is_none(tmp_path: Path) -> None:
    ran = on_a_full_disk(
        "from oms.settings import settings_of_code\n"
        "from oms.tokens import admin_token_in\n"
        "admin_token_in(Path(), settings_of_code())",
        tmp_path,
    )
    assert "OSError" in ran.stderr
    assert not (tmp_path / "admin-token").exists()

    assert len(admin_token_in(tmp_path, settings_of_code()).get_secret_value()) > 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["admin-token", "lock"]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short", b"with spaces inside", b"\xff\xfe" * 8, b"x" * 513]
)
def test_what_can_be_no_token_opens_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_bytes(content)
    with pytest.raises(Failure, match="admin-token holds no token: delete it"):
        admin_token_in(tmp_path, settings_of_code())


def test_a_folder_s_token_is_nobody_else_s(tmp_path: Path) -> None:
    its = admin_token_in(tmp_path, settings_of_code()).get_secret_value()
    with pytest.raises(Failure, match=r"OMS_ORDERS_TOKEN and .*admin-token hold the same token"):
        admin_token_in(tmp_path, settings_of_code(orders_token=its))


def test_a_file_keeps_what_it_held_where_it_cannot_be_written_anew(tmp_path: Path) -> None:
    write_private(tmp_path / "password", "before")
    ran = on_a_full_disk(
        "from oms.embedded.private_file import write_private\nwrite_private(Path('password'), 'after')",
        tmp_path,
    )
    assert "OSError" in ran.stderr
    assert (tmp_path / "password").read_text() == "before"


def test_an_empty_password_is_said_instead_of_tried(tmp_path: Path) -> None:
    (tmp_path / "password").touch()
    with pytest.raises(ServerError, match="password is empty"):
        _ = EmbeddedPostgres(tmp_path, port=5432).url
