"""Switches that ask the RADIUS servers: they must be able to."""

from __future__ import annotations

from collections.abc import Iterator

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.checks import Scope
from ksm_onboard.planning.flows import RADIUS, openings, ports_of, shared_addresses

_AUTHENTICATION = 1812
"""RFC 2865, section 3."""


def check_switches(scope: Scope) -> Iterator[Finding]:
    """Switches whose questions nobody hears. Where they stand and their addresses are checked like any host's."""
    declared, platform, layers = scope.declared, scope.platform, scope.member.layers
    if not declared.switches or "management" not in declared.zones:
        return
    if not shared_addresses("radius", platform):
        if not scope.platform_file.mentions("shared_networks", "radius"):
            yield Finding(
                rule="switch-unheard",
                place=scope.file.key_place("switches"),
                message="the data centre declares no RADIUS servers, so the switches have nobody to ask",
                hint="give a pair of VMs the role radius under shared.vms of the platform",
            )
        return
    asked = any(
        opening.source.zone == "management"
        and opening.source.servers is None
        and opening.target.outside == RADIUS
        and any(
            protocol == "udp" and first <= _AUTHENTICATION <= last
            for service in opening.services
            if service in platform.services
            for protocol, first, last in map(ports_of, platform.services[service].ports)
        )
        for opening in openings(declared, layers.counted if layers else {})
    )
    if not asked:
        yield Finding(
            rule="switch-unheard",
            place=scope.file.key_place("switches"),
            message=f"no flow lets switches in the zone management ask the RADIUS servers (udp/{_AUTHENTICATION})",
            allowed=f"a flow from management to {RADIUS} with the service radius",
            hint="the platform declares one for every member: do not take network-access away",
        )
