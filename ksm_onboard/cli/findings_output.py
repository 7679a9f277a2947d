"""Findings in the formats of other tools: SARIF 2.1.0 and GitLab's code quality report.

Both let a pipeline show a finding at its line in a merge request. A fingerprint says whether a
finding is one that was there before: it does not change when lines move.
Sources: OASIS SARIF 2.1.0, sections 3.13 ff.; GitLab documentation, "Code Quality report format".
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from ksm_onboard.declaration.findings import Finding, relative, some
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.provisioning.deployed import Found

RULES_PAGE = Path("docs/reference/rules.md")
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "ksmOnboardFinding/v1"

_BASE = "SRCROOT"
_GITLAB_SEVERITY = {"error": "critical", "warning": "minor"}
_RULE_ROW = re.compile(r"^\| (?P<rules>`[^|]*) \| [^|]* \| (?P<meaning>.*) \|$", re.MULTILINE)


def fingerprints(findings: Sequence[Finding], root: Path) -> list[str]:
    """One per finding, in their order; all different.

    Made from rule, file, what is wrong and the value. Of findings alike in all that, the
    first, second ... are told apart by their order.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    result = []
    for finding in findings:
        said = (finding.rule, relative(finding.place.file, root), finding.message, finding.value or "")
        seen[said] += 1
        result.append(hashlib.sha256("\0".join((*said, str(seen[said]))).encode()).hexdigest())
    return result


def about_deployed(stands: Found) -> list[str]:
    """Which members were compared with what stands, and which were not: a check that was skipped is told."""
    lines = [f"compared with what stands: {key} ({state.source})" for key, state in stands.deployed.items()]
    by_reason: dict[str, list[str]] = {}
    for key, why in stands.missing.items():
        by_reason.setdefault(why, []).append(key)
    return lines + [f"not compared with what stands: {some(keys)} ({why})" for why, keys in by_reason.items()]


def as_json(findings: Sequence[Finding], root: Path, checked: Sequence[str], stands: Found) -> dict[str, Any]:
    """The toolkit's own format; ``checked`` are the members that were looked at."""
    return {
        "checked": list(checked),
        "compared_with_deployed": {key: state.source for key, state in stands.deployed.items()},
        "not_compared_with_deployed": dict(stands.missing),
        "errors": sum(finding.severity == "error" for finding in findings),
        "findings": [finding.as_json(root) for finding in findings],
    }


def as_code_quality(findings: Sequence[Finding], root: Path) -> list[dict[str, Any]]:
    """GitLab's code quality report."""
    return [
        {
            "description": _text(finding),
            "check_name": finding.rule,
            "fingerprint": fingerprint,
            "severity": _GITLAB_SEVERITY[finding.severity],
            "location": {"path": relative(finding.place.file, root), "lines": {"begin": finding.place.line}},
        }
        for finding, fingerprint in zip(findings, fingerprints(findings, root), strict=True)
    ]


def as_sarif(
    findings: Sequence[Finding], root: Path, environment: Mapping[str, str] | None = None, stands: Found | None = None
) -> dict[str, Any]:
    """A SARIF log with one run; every rule that there is, so that its explanation is one click away.

    What was compared with the deployed state, and what was not, are notifications (section 3.20.21).
    """
    rules: tuple[str, ...] = get_args(Rule)
    page, meanings = _page(root, os.environ if environment is None else environment), _meanings(root)
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ksm-onboard",
                        "version": version("ksm-onboard"),
                        "rules": [_rule(rule, page, meanings.get(rule)) for rule in rules],
                    }
                },
                "originalUriBaseIds": {_BASE: {"description": {"text": "the project's folder"}}},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": line}} for line in about_deployed(stands or Found())
                        ],
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": finding.rule,
                        "ruleIndex": rules.index(finding.rule),
                        "level": finding.severity,
                        "message": {"text": _text(finding)},
                        "locations": [{"physicalLocation": _location(finding, root)}],
                        "partialFingerprints": {FINGERPRINT: fingerprint},
                    }
                    for finding, fingerprint in zip(findings, fingerprints(findings, root), strict=True)
                ],
            }
        ],
    }


def _rule(rule: str, page: str, meaning: str | None) -> dict[str, Any]:
    text = meaning or rule.replace("-", " ")
    return {
        "id": rule,
        "shortDescription": {"text": rule.replace("-", " ")},
        "fullDescription": {"text": text},
        "help": {"text": text, "markdown": text},
        "helpUri": f"{page}#{rule}",
    }


def _page(root: Path, environment: Mapping[str, str]) -> str:
    """The absolute address of the rules' page: the repository's in a pipeline, otherwise the file's."""
    path = quote(RULES_PAGE.as_posix())
    if project := environment.get("CI_PROJECT_URL"):
        return f"{project}/-/blob/{environment.get('CI_COMMIT_SHA', 'HEAD')}/{path}"
    if repository := environment.get("GITHUB_REPOSITORY"):
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{repository}/blob/{environment.get('GITHUB_SHA', 'HEAD')}/{path}"
    return (root.resolve() / RULES_PAGE).as_uri()


def _meanings(root: Path) -> dict[str, str]:
    """What the page says about each rule; empty where there is no page."""
    page = root / RULES_PAGE
    if not page.is_file():
        return {}
    return {
        rule: row["meaning"].strip()
        for row in _RULE_ROW.finditer(page.read_text(encoding="utf-8"))
        for rule in re.findall(r"`([a-z-]+)`", row["rules"])
    }


def _location(finding: Finding, root: Path) -> dict[str, Any]:
    file = relative(finding.place.file, root)
    inside = not Path(file).is_absolute()
    artifact = {"uri": quote(Path(file).as_posix()), "uriBaseId": _BASE} if inside else {"uri": Path(file).as_uri()}
    return {
        "artifactLocation": artifact,
        "region": {"startLine": finding.place.line, "startColumn": finding.place.column},
    }


def _text(finding: Finding) -> str:
    """Everything that there is to say about a finding, on one line."""
    said = [finding.message]
    said += [f"allowed: {finding.allowed}"] if finding.allowed else []
    said += [f"hint: {finding.hint}"] if finding.hint else []
    return ". ".join(said)
