"""The page of stories is what the table in the code says."""

from __future__ import annotations

import pytest

from tools.stories_page import BEGIN, PAGE, ROOT, rewritten


def test_the_page_has_the_stories_of_now() -> None:
    """Run `make documents` when this fails."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert rewritten(page) == page


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no line"):
        rewritten(f"# Stories\n\n{BEGIN[:-4]}\n")
