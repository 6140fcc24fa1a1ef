"""Logs: what the contracts mark as sensitive never shows."""

from __future__ import annotations

from oms.logs import MASK, _Masking, sensitive_fields


def test_the_contracts_say_what_is_sensitive() -> None:
    assert sensitive_fields() == {"payment_method", "shipping_address"}


def test_sensitive_values_are_masked_wherever_they_stand() -> None:
    masking = _Masking(sensitive_fields() | {"token"})

    event = masking(
        None, "info", {"order": {"payment_method": "pm_x", "lines": [{"shipping_address": 1}]}, "token": "t"}
    )

    assert event == {"order": {"payment_method": MASK, "lines": [{"shipping_address": MASK}]}, "token": MASK}
