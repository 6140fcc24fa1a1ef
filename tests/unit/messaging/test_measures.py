"""What is counted: distributions, sums over parts, and what the process says of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from messaging.measures import BATCH, OUTBOX, Distribution, Kind, Measure, Reading, summed
from oms.observing.metrics import MEASURES
from orchestrator.metrics import Metrics, Sources

BOUNDS = (1, 10)


def test_a_value_counts_in_the_first_bucket_that_holds_it() -> None:
    sizes = Distribution(BOUNDS)
    for value in (1, 2, 10, 11):
        sizes.add(value)
    assert (sizes.counts, sizes.total) == ([1, 2, 1], 24)


def test_what_several_parts_say_of_one_series_is_added_up() -> None:
    one, other = Distribution(BOUNDS), Distribution(BOUNDS)
    one.add(1)
    other.add(5)
    batch, outbox = BATCH.of("payment", "payment.commands"), OUTBOX.of("payment")
    sums = summed([(batch, one), (outbox, 2), (batch, other), (outbox, 3)])
    assert sums[outbox] == 5
    both = sums[batch]
    assert isinstance(both, Distribution)
    assert (both.counts, both.total) == ([1, 1, 0], 6)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_measure_is_named_as_prometheus_names_them(measure: Measure) -> None:
    assert re.fullmatch(r"oms_[a-z_]+[a-z]", measure.name)
    assert measure.name.endswith("_total") == (measure.kind is Kind.COUNTER)
    assert measure.said.endswith(".")
    assert not {label for label in measure.labels if label.endswith("id")}


def test_no_two_measures_have_one_name() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)


async def test_a_distribution_shows_as_a_histogram() -> None:
    def part() -> list[Reading]:
        sizes = Distribution(BOUNDS)
        sizes.add(7)
        return [(BATCH.of("payment", "payment.commands"), sizes)]

    said = (await Metrics(Sources([part])).exposition()).decode()
    [family] = [each for each in text_string_to_metric_families(said) if each.name == BATCH.name]
    values = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert values == {
        ("oms_batch_messages_bucket", "1.0"): 0,
        ("oms_batch_messages_bucket", "10.0"): 1,
        ("oms_batch_messages_bucket", "+Inf"): 1,
        ("oms_batch_messages_count", None): 1,
        ("oms_batch_messages_sum", None): 7,
    }


async def test_what_cannot_be_asked_for_is_left_out_and_the_rest_is_told() -> None:
    async def look() -> AsyncIterator[Reading]:
        for reading in [(OUTBOX.of("payment"), 1)]:
            if said_no:
                raise OSError("away")
            yield reading

    said_no = True

    said = (await Metrics(Sources([lambda: [(OUTBOX.of("payment"), 4)]], [look])).exposition()).decode()
    assert 'oms_outbox_messages{service="payment"} 4.0' in said.splitlines()
