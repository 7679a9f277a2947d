"""Which of its applications a workplace has, by what it says itself. Pure: plan and facts in, versions out."""

from __future__ import annotations

from collections.abc import Collection

from ksm_onboard.planning.plan import Plan
from ksm_onboard.verifying.audit_hosts import BOOKMARK, bookmarked
from ksm_onboard.verifying.audit_windows import windows_parts
from ksm_onboard.verifying.host_facts import HostFacts
from ksm_onboard.verifying.windows_hosts import WindowsFacts


def installed_applications(
    plan: Plan, name: str, facts: HostFacts | WindowsFacts, *, without: Collection[str] = ()
) -> dict[str, dict[str, str | None]]:
    """For every application of the workplace ``name``, but those ``without``: its parts and their versions.

    Parts are packages, with None where one is not installed, or the address that the browser offers. An application
    without parts on this platform is not in the result: nothing of it can be looked for.
    """
    machine = next(machine for machine in plan.member.workstations if machine.name == name)
    found: dict[str, dict[str, str | None]] = {}
    for application in plan.member.applications:
        if application.key not in machine.applications or application.key in without:
            continue
        if isinstance(facts, WindowsFacts):
            if on_windows := windows_parts(application, facts):
                found[application.key] = on_windows
            continue
        parts: dict[str, str | None] = {package: facts.packages.get(package) for package in application.packages}
        if (url := bookmarked(application)) is not None:
            parts[url] = BOOKMARK if url in facts.bookmarks else None
        if parts:
            found[application.key] = parts
    return found
