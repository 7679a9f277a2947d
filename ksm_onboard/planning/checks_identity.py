"""What a member is known by: its key and the prefix of its host names never change, its DNS domain is its own.

Block, networks, VLANs and addresses are compared one by one with the record elsewhere
(``allocation-contradicts``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.planning.checks import Scope
from ksm_onboard.planning.checks_across import Across, Members


def check_identity(scope: Scope) -> Iterator[Finding]:
    """The prefix of host names differs from that of everything that was given out; the domain is the platform's."""
    yield from _prefix(scope)
    shared = scope.platform.shared
    if shared is not None and scope.declared.member.dns_domain == shared.dns_domain:
        yield Finding(
            rule="domain-twice",
            place=scope.file.place("member", "dns_domain"),
            message=f"the DNS domain '{shared.dns_domain}' is that of the data centre's own machines",
            value=shared.dns_domain,
            hint="choose a domain of the member's own",
        )


def _prefix(scope: Scope) -> Iterator[Finding]:
    short = scope.declared.member.short
    before = scope.record.short
    if before is not None and before != short and scope.file.is_sound("member", "short"):
        yield Finding(
            rule="immutable-changed",
            place=scope.file.place("member", "short"),
            message=f"the prefix of host names was '{before}' when servers were named, and is now '{short}'",
            value=short,
            allowed=before,
            hint="every server, certificate and address would change; keep the prefix, "
            "or hand the member over as a new one",
        )


def check_renamed(members: Members, orphans: Mapping[str, Loaded[AllocationRecord]]) -> list[Across]:
    """A member without anything given out that has the prefix of a record whose member is gone was renamed."""
    before = {
        short: key
        for key, record in orphans.items()
        if record.content is not None and (short := record.content.short) is not None
    }
    found = []
    for key, (member, declared) in members.items():
        was = before.get(declared.member.short)
        if was is not None and member.record.content is None and member.file.is_sound("member", "short"):
            found.append(
                Across(
                    frozenset((key,)),
                    Finding(
                        rule="immutable-changed",
                        place=member.file.place("member", "key"),
                        message=f"the member's key was '{was}' when its servers were given out, and is now '{key}'",
                        value=key,
                        allowed=was,
                        hint="stack, folder and permissions carry the key; keep it, "
                        "or hand the member over as a new one",
                    ),
                )
            )
    return found
