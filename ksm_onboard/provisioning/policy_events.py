"""What the policy pack said in a run, read from the engine's events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksm_onboard.errors import OnboardError
from ksm_onboard.policies.model import PACK

_COLOURS = re.compile(r"<\{%.*?%\}>")
_WAIVED = "low"


@dataclass(frozen=True)
class PolicyFinding:
    """One violation: the rule, the resource's name, and the pack's own words (first line: what is wrong)."""

    rule: str
    message: str
    stops: bool
    waived: bool


@dataclass(frozen=True)
class PolicyResult:
    """How many rules found nothing wrong, and what the others found."""

    passed: int = 0
    findings: tuple[PolicyFinding, ...] = ()

    @property
    def advice(self) -> tuple[PolicyFinding, ...]:
        """Violations that do not stop a run, and are not waived."""
        return tuple(finding for finding in self.findings if not finding.stops and not finding.waived)

    @property
    def waived(self) -> tuple[PolicyFinding, ...]:
        return tuple(finding for finding in self.findings if finding.waived)


class PoliciesViolatedError(OnboardError):
    """The policy pack refuses what a run was about to do. The message names every violation that stops it."""

    def __init__(self, stack: str, findings: Sequence[PolicyFinding]) -> None:
        said = "\n".join(f"  [{finding.rule}] " + finding.message.replace("\n", "\n    ") for finding in findings)
        count = f"{len(findings)} violation" + ("" if len(findings) == 1 else "s")
        super().__init__(
            f"the policies refuse stack '{stack}' ({count}):\n{said}",
            hint="put it right in the declaration and run the same command again; if it has to be so for a while,"
            " declare a waiver: docs/how-to/waive-a-policy.md",
        )


class PoliciesNotRunError(OnboardError):
    """A run came to its end without the policy pack having said anything."""

    def __init__(self, stack: str) -> None:
        super().__init__(
            f"stack '{stack}' was handled without its policies: the engine did not run the policy pack",
            hint="this must never happen; check that policies/PulumiPolicy.yaml is part of this checkout,"
            " and the engine's version (ksm-onboard lab setup)",
        )


@dataclass
class PolicyLog:
    """Collects events. A preview's result is followed by that of the update itself, which then counts."""

    result: PolicyResult | None = None
    _findings: list[PolicyFinding] = field(default_factory=list)

    @property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """What was found last, also by a run that ended before it was summed up."""
        return tuple(self._findings) or (self.result.findings if self.result else ())

    def violated(self, event: Mapping[str, Any]) -> None:
        """A ``policyEvent``."""
        if event.get("policyPackName") == PACK:
            self._findings.append(
                PolicyFinding(
                    rule=event["policyName"],
                    message=_COLOURS.sub("", event["message"]).strip(),
                    stops=event.get("enforcementLevel") == "mandatory",
                    waived=event.get("severity") == _WAIVED,
                )
            )

    def summed_up(self, event: Mapping[str, Any]) -> None:
        """A ``policyAnalyzeStackSummaryEvent``, which follows the violations."""
        if event.get("policyPackName") == PACK:
            self.result = PolicyResult(len(event.get("passed") or ()), tuple(self._findings))
            self._findings = []
