"""What the build makes of a module's imports."""

from __future__ import annotations

import pytest

from hatch_build import moved


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("from contracts.orders import Order", "from oms.contracts.orders import Order"),
        ("from contracts import orders", "from oms.contracts import orders"),
        ("import messaging.clock as clock", "import oms.messaging.clock as clock"),
        ("import json, messaging as m", "import json, oms.messaging as m"),
        ("if x:\n    from migrations.run import (\n        a,\n    )", None),
        ("from contractsandmore import a", "from contractsandmore import a"),
        ("from oms.settings import Settings", "from oms.settings import Settings"),
        ('text = "from contracts import a"', 'text = "from contracts import a"'),
        ("from . import contracts", "from . import contracts"),
    ],
)
def test_imports_of_our_packages_are_beneath_oms(written: str, becomes: str | None) -> None:
    assert moved(written, "m.py") == (becomes or written.replace("from migrations", "from oms.migrations"))


def test_an_import_that_would_bind_another_name_stops_the_build() -> None:
    with pytest.raises(SyntaxError, match=r"import contracts\.orders"):
        moved("import contracts.orders", "m.py")
