"""What Windows workplaces get that is named otherwise there than on Linux: packages, printers, network drives. Pure."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Final

from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.planning.depot import depot_item, from_depot
from ksm_onboard.planning.plan import ApplicationPlan, MemberPlan, PrintQueuePlan, WorkstationPlan

_LETTERS: Final = tuple(f"{letter}:" for letter in ascii_uppercase[ascii_uppercase.index("G") :])
"""A to F belong to drives that people put in."""


def windows_package(key: str, entry: CatalogueEntry) -> str | None:
    """The application's package in the internal Chocolatey feed; None where nothing is installed on Windows."""
    application = entry.application
    if "windows" not in application.platforms or application.component not in ("client", "server"):
        return None
    if from_depot(application, "windows"):
        return depot_item(key, entry, "windows").package
    return application.packages.chocolatey


def bookmarked_on_windows(application: ApplicationPlan) -> str | None:
    """The address that browsers on Windows offer for it; None where there is none, or it is installed."""
    return application.url if application.in_browser and application.windows_package is None else None


def drives(member: MemberPlan) -> tuple[tuple[str, str], ...]:
    """Letter and path of every share, in the order of the declaration; what comes after Z: has no letter."""
    names = {server.name: server.fqdn for server in member.servers}
    shares = zip(_LETTERS, member.shares, strict=False)
    return tuple((letter, f"\\\\{names[share.server]}\\{share.name}") for letter, share in shares)


def printers_of(workstation: WorkstationPlan, member: MemberPlan) -> tuple[PrintQueuePlan, ...]:
    """The print queues of the site that the workplace is at; of one that two servers offer, the first server's."""
    queues: dict[str, PrintQueuePlan] = {}
    for queue in member.print_queues:
        if queue.site == workstation.site:
            queues.setdefault(queue.name, queue)
    return tuple(queues.values())


def queue_address(queue: PrintQueuePlan, member: MemberPlan) -> str:
    """Where Windows finds a queue of the member's print server (IPP)."""
    return f"http://{member.server(queue.server).fqdn}:631/printers/{queue.name}"
