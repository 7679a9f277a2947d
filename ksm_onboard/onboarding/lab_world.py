"""What the lab shows of the declared world: the data centre, and some of the workstations. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any, Final

from ksm_onboard.declaration.models import DevicePlatform
from ksm_onboard.depot.packages import FEED_STAND_IN_VERSION
from ksm_onboard.lab.array import ArrayExport
from ksm_onboard.planning.depot import STAND_IN
from ksm_onboard.planning.exports import exports_of
from ksm_onboard.planning.plan import MemberPlan, Plan, PlatformPlan, WorkstationPlan


def data_centre(platform: PlatformPlan) -> dict[str, Any]:
    """The inventory that the simulated vCenter is filled with (format: lab/vcenter/inventory.go)."""
    return {
        "datacenter": platform.datacenter,
        "cluster": platform.cluster,
        "sections": [{"key": section.key, "hosts": list(section.hosts)} for section in platform.sections],
        "host": platform.hypervisor.model_dump(),
        "switch": {"name": platform.switch, "uplinks": list(platform.uplinks)},
        "datastores": [
            {
                "name": platform.library.name,
                "capacity_gib": platform.library.capacity_gib,
                "sections": [section.key for section in platform.sections],
            }
        ],
        "templates": [
            {"name": template.name, "guest_id": template.guest_id, "disk_gib": template.disk_gib}
            for template in platform.templates
        ],
    }


def array_exports(plan: Plan) -> tuple[ArrayExport, ...]:
    """What the lab's array exports for a member: the list that real arrays' administrators are handed."""
    return tuple(
        ArrayExport(host=export.address, path=export.path, capacity_gib=export.size_gib, sections=export.sections)
        for export in exports_of(plan)
    )


FEED_VERSION: Final = "1.0.0"
"""The version of every package that the simulated feeds offer, but of stand-ins: those are in the depots."""
CHOCOLATEY_VERSION: Final = "2.4.3"


def windows_offers(member: MemberPlan) -> dict[str, str]:
    """The packages that the feed of the lab's simulated Windows workstations offers: what is planned, and no other."""
    packages = sorted({a.windows_package for a in member.applications if a.windows_package is not None})
    versions = {p: FEED_STAND_IN_VERSION if p.startswith(STAND_IN) else FEED_VERSION for p in packages}
    return {"chocolatey": CHOCOLATEY_VERSION, **versions}


def _in_turn(member: MemberPlan, platform: DevicePlatform) -> Iterator[WorkstationPlan]:
    groups: dict[tuple[str, str], list[WorkstationPlan]] = defaultdict(list)
    for workstation in member.workstations:
        if workstation.platform == platform:
            groups[workstation.department, workstation.profile].append(workstation)
    return (w for w in chain.from_iterable(zip_longest(*groups.values())) if w is not None)


def chosen_workstations(member: MemberPlan, number: int) -> tuple[WorkstationPlan, ...]:
    """The ``number`` workstations that the lab starts: the first of each department and profile, then the second, ….

    So even a few of them show every kind of workplace. Linux, which becomes real hosts, and Windows, which is
    simulated, take turns; there are no tablets in the lab. They come in the plan's order.
    """
    in_turn = chain.from_iterable(zip_longest(_in_turn(member, "linux"), _in_turn(member, "windows")))
    chosen = {w.name for w in [w for w in in_turn if w is not None][:number]}
    return tuple(w for w in member.workstations if w.name in chosen)
