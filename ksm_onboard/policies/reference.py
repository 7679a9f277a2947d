"""The reference page of the policies, written from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterator

from ksm_onboard.policies.model import CATALOGUE, EDITION, MANDATORY_LEVELS, NEEDS, Rule, enforcement
from ksm_onboard.policies.rules import RULES

PAGE = "docs/reference/policies.md"

_HEAD = f"""\
# Policies

<!-- Written by: KSM_UPDATE_SNAPSHOTS=1 pytest tests/unit/policies/test_reference.py -->

`policies/` is a Pulumi policy pack (CrossGuard). The engine starts it on every `preview` and `up`, whether they come
from `ksm-onboard` or from plain `pulumi`: `ksm-onboard env` sets `PULUMI_OPTION_POLICY_PACK`, which the engine takes
for `--policy-pack`. A program that is started without it refuses to run, a pack that does not start fails the run, and
`ksm-onboard` takes no run for a good one in which the pack said nothing.

The rules (`ksm_onboard/policies/`) see resources, not declarations or plans: what the engine was asked for, on what
each value depends, what the stack puts out. They judge a stack as a whole, when all its resources are known: `up`
previews first, so a violation is found before anything is made. With `--skip-preview` it fails the run at its end.

Requirements are named by catalogue, edition and id ({CATALOGUE}, edition {EDITION}); titles are shortened.

## What stops a run

A violation of a mandatory rule stops the run, any other is shown as advice. Which it is follows from the levels of the
rule's requirements (B basic, S standard, H high protection need) and the protection need that the member declares
(`protection`), for the highest of the goals that the rule serves. A rule is mandatory if one of its requirements is.

| protection need | B | S | H |
| --- | --- | --- | --- |
"""

_WHERE = {"member": "every member's stack", "platform": "the platform's stack", "any": "every stack"}


def page() -> str:
    """The page as it is committed."""
    return _HEAD + "\n".join([*_levels(), "", *_overview(), "", *_sections()]).rstrip() + "\n"


def _levels() -> Iterator[str]:
    for need in NEEDS:
        words = ("mandatory" if level in MANDATORY_LEVELS[need] else "advice" for level in ("B", "S", "H"))
        yield f"| {need} | {' | '.join(words)} |"
    yield ""
    yield "The platform carries every member's data: its stack is judged like a member with very high need, and so is a"
    yield "stack that does not say what it is."


def _overview() -> Iterator[str]:
    yield "| rule | normal | high | very high |"
    yield "| --- | --- | --- | --- |"
    for rule in RULES.values():
        words = ("mandatory" if _stops(rule, need) else "advice" for need in NEEDS)
        yield f"| [{rule.id}](#{rule.id}) | {' | '.join(words)} |"


def _stops(rule: Rule, need: str) -> bool:
    return enforcement(rule, dict.fromkeys(rule.goals, need)) == "mandatory"


def _sections() -> Iterator[str]:
    for rule in RULES.values():
        yield f"## {rule.id}"
        yield ""
        yield f"{rule.title}."
        yield ""
        yield f"- requirements: {', '.join(map(str, rule.requirements))}"
        yield f"- serves: {', '.join(rule.goals)}"
        yield f"- judged in: {_WHERE[rule.stack]}"
        if rule.always:
            yield f"- mandatory for everybody: {rule.always}"
        yield f"- what to do: {rule.todo}"
        yield f"- not checkable where {rule.absent}"
        yield ""
