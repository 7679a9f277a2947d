"""What is declared against what stands: changes that would move, replace or lose something that runs.

The allocation record says what was given out; the deployed state, what was really built from it. They can
differ: a record was edited or merged wrongly, a value that no record holds was changed (template, disk size,
tier, mount point). Which changes replace: terraform-provider-vsphere, resources ``vsphere_virtual_disk`` (every
property forces a new disk) and ``vsphere_virtual_machine``; what a guest is told is read at its first boot only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.models import DataDisk, Server
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.checks import Scope
from ksm_onboard.planning.deployed import Deployed, DeployedDisk, DeployedServer
from ksm_onboard.planning.plan import MemberPlan

_REPLACE = "declare another server, take its work over, then remove this one (docs/how-to/change-and-remove.md)"
_MOVE_DATA = (
    "keep it; a disk that belongs on another tier or datastore is a migration of its data, never a change of a word: "
    "declare another one beside it, copy, then remove this one "
    "(docs/how-to/grow-storage.md, A disk belongs on another tier)"
)

# Findings about values that are sound in themselves, and not those that were given out or stand.
DECLARED_OTHERWISE: frozenset[Rule] = frozenset(("allocation-contradicts", "immutable-changed"))


def check_deployed(scope: Scope, deployed: Deployed) -> list[Finding]:
    """Every declared value that contradicts what stands."""
    comparison = _Comparison(scope, deployed)
    return [
        *comparison.identity(),
        *comparison.zones(),
        *comparison.servers(),
        *comparison.removed(),
    ]


def check_planned(scope: Scope, deployed: Deployed, plan: MemberPlan) -> list[Finding]:
    """Data disks that the plan of a sound declaration puts elsewhere than they lie."""
    found = []
    for server, key in zip(plan.servers, scope.declared.servers, strict=True):
        stands = deployed.servers.get(server.name, DeployedServer()).disks
        for disk in server.disks:
            was = stands.get(disk.name)
            if was is None:
                continue
            if disk.datastore != was.datastore:
                found.append(
                    _changed(
                        scope.file.place("servers", key, "disks", disk.name, "tier"),
                        f"the data disk {disk.name} of {server.name} lies on {was.datastore}, "
                        f"and would be created anew, empty, on {disk.datastore}",
                        value=disk.datastore,
                        was=was.datastore,
                        hint=_MOVE_DATA,
                        deployed=deployed,
                    )
                )
            elif was.unit_number is not None and disk.unit_number != was.unit_number:
                found.append(
                    _changed(
                        scope.file.key_place("servers", key, "disks", disk.name),
                        f"the data disk {disk.name} of {server.name} is number {was.unit_number} of its VM, "
                        f"and would become number {disk.unit_number}",
                        value=str(disk.unit_number),
                        was=str(was.unit_number),
                        hint="disks are numbered in the order in which they are declared: declare new ones after those "
                        "that are there",
                        deployed=deployed,
                    )
                )
    return found


def superseding(found: list[Finding], deployed: list[Finding]) -> list[Finding]:
    """``found`` and ``deployed``, without what the record says at a place of which the deployed state says more."""
    places = {finding.place for finding in deployed}
    return [f for f in found if f.rule not in DECLARED_OTHERWISE or f.place not in places] + deployed


def _changed(place: Place, message: str, *, value: str, was: str, hint: str, deployed: Deployed) -> Finding:
    return Finding(
        rule="immutable-changed",
        place=place,
        message=message,
        value=value,
        allowed=f"{was}, as it stands ({deployed.source})",
        hint=hint,
    )


@dataclass(frozen=True)
class _Comparison:
    scope: Scope
    deployed: Deployed

    def changed(self, loc: Loc, message: str, value: object, was: object, hint: str) -> Iterator[Finding]:
        """One finding at the value's place, if the value is the author's."""
        if self.scope.file.is_sound(*loc):
            place = self.scope.file.place(*loc)
            yield _changed(place, message, value=str(value), was=str(was), hint=hint, deployed=self.deployed)

    def identity(self) -> Iterator[Finding]:
        member, before = self.scope.declared.member, self._short()
        if before != member.short:
            yield from self.changed(
                ("member", "short"),
                f"the prefix of host names is '{before}' on the servers that stand, and is now '{member.short}'",
                member.short,
                before,
                "every server would be deleted and created under another name; keep the prefix, "
                "or hand the member over as a new one",
            )
        domains = {server.dns_domain for server in self.deployed.servers.values() if server.dns_domain is not None}
        if domains and member.dns_domain not in domains:
            was = min(domains)
            yield from self.changed(
                ("member", "dns_domain"),
                f"the domain is '{was}' on the servers that stand, and is now '{member.dns_domain}'",
                member.dns_domain,
                was,
                "servers learn their domain at their first boot, and certificates carry it; keep it, "
                "or hand the member over as a new one",
            )

    def zones(self) -> Iterator[Finding]:
        keep = "every host of the zone would be cut off; keep it, or declare another zone and move the hosts one by one"
        for key, zone in self.scope.declared.zones.items():
            was = self.deployed.zones.get(f"{self.scope.member.key}-{key}")
            if was is None:
                continue
            if zone.vlan is not None and was.vlan is not None and zone.vlan != was.vlan:
                message = f"the zone {key} stands in VLAN {was.vlan}, and would move to VLAN {zone.vlan}"
                yield from self.changed(("zones", key, "vlan"), message, zone.vlan, was.vlan, keep)
            if zone.cidr is not None and was.cidr is not None and zone.cidr != was.cidr:
                message = f"the zone {key} stands in the network {was.cidr}, and would move to {zone.cidr}"
                yield from self.changed(("zones", key, "cidr"), message, zone.cidr, was.cidr, keep)

    def servers(self) -> Iterator[Finding]:
        for key, server in self.scope.declared.servers.items():
            name = f"{self._short()}-{key}"
            was = self.deployed.servers.get(name)
            if was is not None:
                yield from self._network(key, name, server, was)
                yield from self._template(key, name, server, was)
                for disk_key, disk in server.disks.items():
                    if (standing := was.disks.get(disk_key)) is not None:
                        yield from self._disk(("servers", key, "disks", disk_key), name, disk_key, disk, standing)

    def _network(self, key: str, name: str, server: Server, was: DeployedServer) -> Iterator[Finding]:
        zone = was.port_group.removeprefix(f"{self.scope.member.key}-") if was.port_group else server.zone
        if zone != server.zone:
            message = f"{name} stands in the zone {zone}, and would move to {server.zone}"
            yield from self.changed(
                ("servers", key, "zone"), message, server.zone, zone, f"keep the zone, or {_REPLACE}"
            )
        elif server.address is not None and was.address is not None and server.address != was.address.ip:
            message = f"{name} has the address {was.address.ip}, and would get {server.address}"
            hint = (
                "clients, firewall rules and name servers know it by its address; keep it (an address that is not "
                f"declared stands in the allocation record), or {_REPLACE}"
            )
            yield from self.changed(("servers", key, "address"), message, server.address, was.address.ip, hint)

    def _template(self, key: str, name: str, server: Server, was: DeployedServer) -> Iterator[Finding]:
        template = self.scope.platform.templates.get(server.template)
        if template is None:
            return
        loc = ("servers", key, "template")
        hint = f"a template never changes a server that runs; keep it, or {_REPLACE}"
        if was.guest_id is not None and template.guest_id != was.guest_id:
            message = f"{name} was made for {was.guest_id}; the template {server.template} is for {template.guest_id}"
            yield from self.changed(loc, message, server.template, f"a template for {was.guest_id}", hint)
        elif was.system_disk_gib is not None and template.disk_gib < was.system_disk_gib:
            message = (
                f"the system disk of {name} has {was.system_disk_gib} GiB; "
                f"that of the template {server.template} has {template.disk_gib} GiB"
            )
            yield from self.changed(loc, message, server.template, f"at least {was.system_disk_gib} GiB", hint)

    def _disk(self, loc: Loc, name: str, key: str, disk: DataDisk, was: DeployedDisk) -> Iterator[Finding]:
        what = f"the data disk {key} of {name}"
        if disk.size_gib < was.size_gib:
            message = f"{what} has {was.size_gib} GiB, and would shrink to {disk.size_gib} GiB"
            hint = "a disk can grow, never shrink: the data behind the new end would be lost"
            yield from self.changed((*loc, "size_gib"), message, disk.size_gib, f"at least {was.size_gib} GiB", hint)
        if was.mount is not None and disk.mount != was.mount:
            message = f"{what} is mounted at {was.mount}, and would be expected at {disk.mount}"
            hint = "a server learns its mount points at its first boot; keep it, or rebuild the server"
            yield from self.changed((*loc, "mount"), message, disk.mount, was.mount, hint)
        if was.datacenter != self.scope.platform.vcenter.datacenter:
            here = self.scope.platform.vcenter.datacenter
            yield Finding(
                rule="immutable-changed",
                place=self.scope.platform_file.place("vcenter", "datacenter"),
                message=f"data disks lie in the datacenter {was.datacenter}, and would be created anew in {here}",
                value=here,
                allowed=was.datacenter,
                hint="keep the name; a datacenter that was renamed in vCenter is a decision of its own",
            )

    def removed(self) -> Iterator[Finding]:
        """What is no longer declared: no error, removing is done like that, but nobody should do it by accident."""
        scope = self.scope
        prefix = f"{self._short()}-"
        for name, server in self.deployed.servers.items():
            key = name.removeprefix(prefix)
            if scope.file.mentions("servers", key):
                continue
            declared = scope.declared.servers.get(key)
            if declared is None:
                data = ", ".join(f"{disk_key} ({disk.size_gib} GiB)" for disk_key, disk in server.disks.items())
                message = f"{name} stands and is no longer declared: up will delete it"
                yield self._gone(("servers", key), message + (f", and stop at its data: {data}" if data else ""), name)
                continue
            for disk_key, disk in server.disks.items():
                loc = ("servers", key, "disks", disk_key)
                if disk_key not in declared.disks and not scope.file.mentions(*loc):
                    message = (
                        f"the data disk {disk_key} of {name} ({disk.size_gib} GiB) stands and is no longer declared: "
                        "up will take it off the server, and stop at its data"
                    )
                    yield self._gone(loc, message, disk_key)

    def _gone(self, loc: Loc, message: str, value: str) -> Finding:
        return Finding(
            rule="deployed-removed",
            severity="warning",
            place=self.scope.removed_at(*loc) or self.scope.file.key_place(*loc[:-1]),
            message=message,
            value=value,
            hint="if it was renamed, give it its name back; deleting data is a decision of its own: "
            "docs/how-to/change-and-remove.md",
        )

    def _short(self) -> str:
        """The prefix of the servers that stand; the declared one where they do not share one."""
        prefixes = {name.split("-", 1)[0] for name in self.deployed.servers}
        return prefixes.pop() if len(prefixes) == 1 else self.scope.declared.member.short
