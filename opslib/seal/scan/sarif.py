"""The report as SARIF 2.1.0, for code scanning and editors.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from opslib import __version__
from opslib.seal.scan.model import KINDS, Finding, Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def document(report: Report) -> dict[str, Any]:
    """Return a SARIF log of one run. No part of it holds a value: there are no snippets."""
    names = list(KINDS)
    results = [_result(one, names) for one in (*report.findings, *report.excused)]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver()},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            *(
                                {"level": "note", "message": {"text": str(one)}}
                                for one in report.unread
                            ),
                            *(
                                {"level": "warning", "message": {"text": one}}
                                for one in report.notes
                            ),
                        ],
                    }
                ],
                "results": results,
            }
        ],
    }


def _driver() -> dict[str, Any]:
    return {
        "name": "opslib scan",
        "semanticVersion": _semantic(__version__),
        "version": __version__,
        "rules": [
            {
                "id": one.name,
                "name": "".join(word.title() for word in one.name.split("-")),
                "shortDescription": {"text": one.what},
                "help": {"text": one.remedy},
                "defaultConfiguration": {"level": "error"},
                "properties": {"tags": ["security", "secret"]},
            }
            for one in KINDS.values()
        ],
    }


def _semantic(version: str) -> str:
    found = re.match(r"\d+\.\d+\.\d+", version)
    return found[0] if found else "0.0.0"


def _result(one: Finding, names: list[str]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(one.path)}}
    if one.line:
        place["region"] = {"startLine": one.line}
    location: dict[str, Any] = {"physicalLocation": place}
    if one.key:
        location["logicalLocations"] = [{"fullyQualifiedName": one.key}]
    made: dict[str, Any] = {
        "ruleId": one.kind,
        "ruleIndex": names.index(one.kind),
        "level": "error",
        "message": {
            "text": f"{one.key}: {one.what}. To do: {one.remedy}"
            if one.key
            else f"{one.what}. To do: {one.remedy}"
        },
        "locations": [location],
        # Of the place, never of the value.
        "partialFingerprints": {"opslibPlace/v1": _place(one)},
    }
    if one.origin:
        made["properties"] = {
            "commit": one.origin.commit,
            "author": one.origin.author,
            "date": one.origin.date,
            "inHead": bool(one.origin.head),
        }
    if one.exempt:
        text = f"{one.exempt.reason} (until {one.exempt.expires})"
        made["suppressions"] = [{"kind": "external", "status": "accepted", "justification": text}]
    return made


def _place(one: Finding) -> str:
    return hashlib.sha256(f"{one.path}\0{one.key}\0{one.kind}".encode()).hexdigest()[:32]


def _uri(path: str) -> str:
    """Return a path as a relative URI, or as file:// where it is absolute."""
    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
