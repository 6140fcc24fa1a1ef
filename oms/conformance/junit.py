"""A report as JUnit XML, which every CI server shows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from oms.conformance.rules import RULES
from oms.conformance.verdict import Finding, Report, Result, Verdict
from oms.failures import Failure


def write_junit(reports: Sequence[Report], path: Path) -> None:
    """Write one suite for each report. Raises Failure when the file cannot be written."""
    root = ET.Element("testsuites", name="oms conformance")
    for report in reports:
        root.append(_suite(report))
    ET.indent(root)
    try:
        path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def _suite(report: Report) -> ET.Element:
    counted = {
        verdict: sum(each.verdict is verdict for each in report.results)
        for verdict in (Verdict.FAILED, Verdict.NOT_TRIED)
    }
    suite = ET.Element(
        "testsuite",
        name=_text(report.name),
        tests=str(len(report.results)),
        failures=str(counted[Verdict.FAILED]),
        errors="0",
        skipped=str(counted[Verdict.NOT_TRIED]),
        time=f"{sum(each.seconds for each in report.results):.3f}",
    )
    for result in report.results:
        suite.append(_case(report.name, result))
    return suite


def _case(name: str, result: Result) -> ET.Element:
    classname = f"{name}.{result.subject}" if result.subject else name
    case = ET.Element(
        "testcase",
        classname=_text(classname),
        name=_text(result.check),
        time=f"{result.seconds:.3f}",
    )
    if result.findings:
        first = result.findings[0]
        failure = ET.SubElement(
            case, "failure", type=first.rule, message=_text(f"{first.rule}: {first.came}")
        )
        failure.text = _text("\n\n".join(_lines(each) for each in result.findings))
    elif result.note:
        ET.SubElement(case, "skipped", message=_text(result.note))
    return case


def _lines(finding: Finding) -> str:
    return "\n".join(
        (
            f"rule {finding.rule}: {RULES[finding.rule].says}",
            f"sent: {finding.sent}",
            f"expected: {finding.expected}",
            f"came: {finding.came}",
            f"look at: {finding.look_at}",
        )
    )


def _text(words: str) -> str:
    """Without what XML cannot hold: a participant may have said anything."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in words
    )
