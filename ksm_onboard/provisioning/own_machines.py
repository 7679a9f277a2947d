"""The platform's own VMs, in the platform's stack: built like a member's, put out as the services that they give."""

from __future__ import annotations

from typing import Any

import pulumi

from ksm_onboard.planning.plan import Plan
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.member import MemberStack
from ksm_onboard.provisioning.platform import PlatformStack, SameStack


class OwnMachines:
    """The VMs of ``plan`` (planning/own_plan.py), on top of the ``platform`` of the same stack."""

    def __init__(
        self,
        plan: Plan,
        platform: PlatformStack,
        customisation: Customisation,
        growth: DiskGrowth,
        opts: pulumi.ResourceOptions,
    ) -> None:
        self._plan = plan
        centre = platform.centre.settled(platform.cluster.id)
        self._built = MemberStack(plan, SameStack(platform), customisation, growth, opts, centre=centre)

    def outputs(self) -> dict[str, Any]:
        """Names and addresses of every central service, as members use them; ``machines`` are for later stages."""
        built = self._built.outputs()
        return {
            "central_services": {
                service.role: [
                    {"name": server.name, "fqdn": server.fqdn, "address": built["servers"][server.name]["address"]}
                    for server in service.servers
                ]
                for service in self._plan.platform.central_services
            },
            "machines": built,
        }
