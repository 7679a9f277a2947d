"""The comment on a merge request: what a change does, in Markdown. Pure, but for reading the template.

Names come from declarations that anybody may have written: everything that is put in is escaped, so that no name
becomes a link, an image, markup, a mention of a person or a reference to an issue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from ksm_onboard.planning.affected import Affected
from ksm_onboard.planning.plan import MemberPlan, Plan
from ksm_onboard.planning.risk import RISK_CLASSES
from ksm_onboard.planning.sides import Change

_SHOWN = 30
_GIB_PER_TIB = 1024

Previews = Mapping[str, Mapping[str, Any]]
"""By stack, as ``ksm-onboard preview --json`` tells them, or ``{"error": why there is none}``."""


@dataclass(frozen=True)
class Cost:
    """What VMs take of the data centre."""

    vcpus: int = 0
    memory_gib: int = 0
    storage_gib: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.vcpus + other.vcpus, self.memory_gib + other.memory_gib, self.storage_gib + other.storage_gib)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.vcpus - other.vcpus, self.memory_gib - other.memory_gib, self.storage_gib - other.storage_gib)


@dataclass(frozen=True)
class SectionLost:
    """What is there without a fire section, and what of it nobody needs: GiB of memory, vCPU."""

    lost: str
    memory: int
    memory_left: int
    vcpus: int
    vcpus_left: int


@dataclass(frozen=True)
class ArrayLeft:
    """An array's room without its reserve, and what of it is not given out, in GiB."""

    name: str
    room_gib: int
    left_gib: int


def cost_of(member: MemberPlan | None) -> Cost:
    """Processors and memory of all its VMs, and the size of all their disks."""
    if member is None:
        return Cost()
    return Cost(
        vcpus=sum(server.cpus for server in member.servers),
        memory_gib=sum(server.memory_mib for server in member.servers) // 1024,
        storage_gib=sum(s.system_disk_gib + sum(disk.size_gib for disk in s.disks) for s in member.servers),
    )


def render_comment(
    templates: Path,
    change: Change,
    previews: Previews,
    sections: Sequence[SectionLost] = (),
    arrays: Sequence[ArrayLeft] = (),
) -> str:
    """The comment for ``change``; stacks that ``previews`` does not hold are said not to have been previewed."""
    touched = change.touched
    concerned = (*((touched.platform,) if touched.platform else ()), *touched.members)
    differences = {one.key: _difference(change, one) for one in concerned}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates / "ci"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML; every value passes through escaped()
        finalize=lambda value: escaped(str(value)),
    )
    return environment.get_template("comment.md.j2").render(
        ref=change.ref,
        stacks=[_stack(one, differences[one.key], previews.get(one.key)) for one in concerned],
        total=_cost_words(sum(differences.values(), Cost())),
        sections=[asdict(section) for section in sections],
        arrays=[{"name": a.name, "left": _tib(a.left_gib), "room": _tib(a.room_gib)} for a in arrays],
    )


def _difference(change: Change, one: Affected) -> Cost:
    own = change.touched.platform is one
    before = change.before.own if own else change.before.members.get(one.key)
    after = change.after.own if own else change.after.members.get(one.key)
    # Where one side cannot be planned, its whole cost would be told as a difference.
    if not own and any(
        side is None and one.key in s.members for side, s in ((before, change.before), (after, change.after))
    ):
        return Cost()
    return cost_of(_member(after)) - cost_of(_member(before))


def _member(plan: Plan | None) -> MemberPlan | None:
    return plan.member if plan is not None else None


def _stack(one: Affected, cost: Cost, preview: Mapping[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "key": one.key,
        "kind": {"adds": "new", "removes": "removed", "changes": "changed"}[one.kind],
        "reasons": [
            reason.text + ("" if reason.exact else " (possibly; named to be on the safe side)")
            for reason in one.reasons
        ],
        # What destroys is never among those that are left out.
        "changes": sorted(one.changes, key=lambda change: not change.destroys)[:_SHOWN],
        "more": max(0, len(one.changes) - _SHOWN),
        "cost": _cost_words(cost),
        "risk": "not known",
        "missing": "",
    }
    if preview is None or preview.get("error"):
        return told | {"missing": (preview or {}).get("error") or "there is no preview of it"}
    steps = list(preview["changes"])
    return told | {
        "risk": preview["risk"] or "nothing changes",
        "counts": _counts(steps),
        "steps": steps[:_SHOWN] if steps else [],
        "more_steps": max(0, len(steps) - _SHOWN),
        "objections": preview["objections"],
        "policies": _policies(preview["policies"]),
        "findings": _findings(preview["policies"] or {}),
    }


def _counts(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return "nothing"
    counts = ((name, sum(step["risk"] == name for step in steps)) for name in reversed(RISK_CLASSES))
    return f"{len(steps)} changes, " + ", ".join(f"{number} {name}" for name, number in counts)


def _policies(said: Mapping[str, Any] | None) -> str:
    if said is None:
        return "not asked, since the engine stopped at protected data"
    return f"{said['passed']} fulfilled, {len(said['advice'])} advice, {len(said['waived'])} waived"


def _findings(said: Mapping[str, Any]) -> list[str]:
    return [
        f"{label}: [{finding['rule']}] {str(finding['message']).partition(chr(10))[0]}"
        for label in ("advice", "waived")
        for finding in said.get(label, ())
    ]


def _cost_words(cost: Cost) -> dict[str, str]:
    return {
        "vcpus": f"{cost.vcpus:+d}",
        "memory": f"{cost.memory_gib:+d}",
        "storage": f"{cost.storage_gib / _GIB_PER_TIB:+.2f}",
    }


def _tib(gib: int) -> str:
    return f"{gib / _GIB_PER_TIB:.2f}"


_MARKUP = re.compile(r"[\\`*_{}\[\]()<>|~$&]")
_NOT_PRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")
# GitLab and GitHub look for these in the finished text, where a backslash is gone: people, issues, labels, merge
# requests, snippets, commits (at least seven hexadecimal digits) and addresses.
_REFERENCE = re.compile(r"([@#!%~^])(?=\w)|(?<=[wW])(?=\.)|(:)(?=//)|\b(?=[0-9a-f]{7,40}\b)")


def escaped(text: str) -> str:
    """``text`` as Markdown that shows it on one line; a zero-width space breaks what would become a reference."""
    plain = _NOT_PRINTED.sub(" ", text)
    broken = _REFERENCE.sub(lambda found: f"{found[0]}\u200b", plain)
    return _MARKUP.sub(lambda found: f"\\{found[0]}", broken)
