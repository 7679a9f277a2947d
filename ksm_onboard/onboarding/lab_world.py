"""What the lab shows of the declared world: the data centre, and some of the workstations. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, zip_longest
from typing import Any

from ksm_onboard.lab.array import ArrayExport
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


def chosen_workstations(member: MemberPlan, number: int) -> tuple[WorkstationPlan, ...]:
    """The ``number`` workstations that the lab starts: the first of each department and profile, then the second, ….

    So even a few of them show every kind of workplace. They come in the plan's order. The lab's hosts run Linux:
    no others are chosen.
    """
    groups: dict[tuple[str, str], list[WorkstationPlan]] = defaultdict(list)
    for workstation in member.workstations:
        if workstation.platform != "linux":
            continue
        groups[workstation.department, workstation.profile].append(workstation)
    in_turn = chain.from_iterable(zip_longest(*groups.values()))
    chosen = {w.name for w in [w for w in in_turn if w is not None][:number]}
    return tuple(w for w in member.workstations if w.name in chosen)
