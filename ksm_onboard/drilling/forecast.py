"""What a loss would do, worked out on an inventory. Pure; nothing is touched, so it may look at the real data centre.

The rules are vSphere HA's. In three places this is stricter than HA, on purpose, since a failover that only works by
overcommitting is none: a machine needs its full memory free on its new host (HA asks only for its reservation), the
datastores' copies are those that the plan declares, and a machine that is not restarted counts as lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.drilling.inventory import PRIORITIES, Host, Inventory, Machine
from ksm_onboard.drilling.loss import Loss
from ksm_onboard.planning.plan import PlatformPlan
from ksm_onboard.verifying.vcenter_facts import ClusterFacts

Outcome = Literal["stays", "restarts", "lost", "off"]


class Fate(BaseModel):
    """What happens to one machine; ``order`` counts restarts from 1, ``reason`` says why it is lost (German)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    outcome: Outcome
    order: int | None = None
    host: str | None = None
    reason: str = ""


@dataclass
class _Cluster:
    """Survivors and what is still free on them; placing a machine takes its memory away."""

    hosts: Mapping[str, Host]
    free_mib: dict[str, int]
    on_host: dict[str, set[str]]
    inventory: Inventory
    gone: Collection[str]

    def place(self, machine: Machine) -> Fate:
        """Where ``machine`` is started again, or why nowhere."""
        if lost := sorted(machine.datastores & set(self.gone)):
            return Fate(machine=machine.name, outcome="lost", reason=f"{', '.join(lost)} ist nicht mehr erreichbar")
        seeing = [host for host in self.hosts.values() if machine.datastores <= host.datastores]
        if not seeing:
            return Fate(machine=machine.name, outcome="lost", reason="kein verbliebener Host erreicht alle Datastores")
        allowed = [host for host in seeing if host.name in self._must(machine)]
        if not allowed:
            return Fate(machine=machine.name, outcome="lost", reason="eine zwingende Regel verbietet jeden Host")
        fitting = [host for host in allowed if self.free_mib[host.name] >= machine.memory_mib]
        if not fitting:
            most = max(self.free_mib[host.name] for host in allowed)
            reason = f"{machine.memory_mib} MiB Speicher nötig, auf einem Host höchstens {max(most, 0)} MiB frei"
            return Fate(machine=machine.name, outcome="lost", reason=reason)
        chosen = min(
            fitting,
            key=lambda host: (
                self._partners_on(machine, host.name),
                host.name not in self._should(machine),
                -self.free_mib[host.name],
                host.name,
            ),
        )
        self.free_mib[chosen.name] -= machine.memory_mib
        self.on_host[chosen.name].add(machine.name)
        return Fate(machine=machine.name, outcome="restarts", host=chosen.name)

    def _partners_on(self, machine: Machine, host: str) -> int:
        apart = {
            name
            for rule in self.inventory.cluster.rules
            if rule.enabled and machine.name in rule.apart
            for name in rule.apart
        }
        return len((apart - {machine.name}) & self.on_host[host])

    def _must(self, machine: Machine) -> set[str]:
        return self._affine(machine, mandatory=True)

    def _should(self, machine: Machine) -> set[str]:
        return self._affine(machine, mandatory=False)

    def _affine(self, machine: Machine, *, mandatory: bool) -> set[str]:
        allowed = set(self.hosts)
        cluster = self.inventory.cluster
        for rule in cluster.rules:
            if not rule.enabled or rule.mandatory is not mandatory or rule.vm_group is None:
                continue
            if machine.name not in cluster.vm_groups.get(rule.vm_group, ()):
                continue
            if rule.affine_host_group is not None:
                allowed &= set(cluster.host_groups.get(rule.affine_host_group, ()))
            if rule.anti_affine_host_group is not None:
                allowed -= set(cluster.host_groups.get(rule.anti_affine_host_group, ()))
        return allowed


def forecast(
    inventory: Inventory, losses: Collection[Loss], platform: PlatformPlan, copies: Mapping[str, Iterable[str]]
) -> tuple[Fate, ...]:
    """Every machine's fate when all of it is lost at once: what stays first, then restarts in order, then the lost.

    ``copies``: the sections that hold a copy of each datastore; one that is not listed has a copy everywhere.
    """
    failed, isolated = hosts_failed(losses, platform), hosts_isolated(losses, platform)
    gone = datastores_lost(losses, copies)
    survivors = {host.name: host for host in inventory.hosts if host.connected and host.name not in failed | isolated}
    on_host: dict[str, set[str]] = {name: set() for name in survivors}
    free = {name: host.memory_mib for name, host in survivors.items()}
    stopped: list[Machine] = []
    fates: list[Fate] = []
    for machine in inventory.machines:
        if not machine.powered_on:
            fates.append(Fate(machine=machine.name, outcome="off", host=machine.host))
        elif machine.host in survivors and not machine.datastores & gone:
            on_host[machine.host].add(machine.name)
            free[machine.host] -= machine.memory_mib
            fates.append(Fate(machine=machine.name, outcome="stays", host=machine.host))
        else:
            stopped.append(machine)
    cluster = _Cluster(hosts=survivors, free_mib=free, on_host=on_host, inventory=inventory, gone=gone)
    return (*fates, *_restarts(cluster, stopped, isolated - failed))


def _restarts(cluster: _Cluster, stopped: Sequence[Machine], isolated: Collection[str]) -> list[Fate]:
    restarted: list[Fate] = []
    lost: list[Fate] = []
    for machine in sorted(stopped, key=lambda machine: (PRIORITIES.index(machine.priority), machine.name)):
        reason = _left_alone(cluster.inventory.cluster, machine, isolated)
        fate = Fate(machine=machine.name, outcome="lost", reason=reason) if reason else cluster.place(machine)
        if fate.outcome == "restarts":
            restarted.append(fate.model_copy(update={"order": len(restarted) + 1}))
        else:
            lost.append(fate)
    return [*restarted, *lost]


def _left_alone(cluster: ClusterFacts, machine: Machine, isolated: Collection[str]) -> str:
    """Why HA does not even try to restart the machine; empty if it does."""
    if not cluster.ha_enabled:
        return "HA ist im Cluster nicht eingeschaltet"
    if cluster.settings.get("ha_host_monitoring") == "disabled":
        return "HA überwacht die Hosts nicht"
    if machine.priority == "disabled":
        return "von HA ausgenommen (Priorität disabled)"
    if machine.host in isolated and cluster.settings.get("ha_isolation_response") == "none":
        return f"{machine.host} hat kein Netz mehr und soll seine VMs dann behalten"
    return ""


def hosts_failed(losses: Collection[Loss], platform: PlatformPlan) -> frozenset[str]:
    """The hosts that fail by themselves or with their section."""
    sections = {loss.name for loss in losses if loss.kind == "section"}
    of_sections = (host for section in platform.sections if section.key in sections for host in section.hosts)
    return frozenset((*of_sections, *(loss.name for loss in losses if loss.kind == "host")))


def hosts_isolated(losses: Collection[Loss], platform: PlatformPlan) -> frozenset[str]:
    """The hosts whose every link is lost; one of several is not missed."""
    links = {(loss.name, loss.uplink) for loss in losses if loss.kind == "link"}
    return frozenset(host for host, _ in links if all((host, uplink) in links for uplink in platform.uplinks))


def datastores_lost(losses: Collection[Loss], copies: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """The datastores that fail as a whole, or that no copy is left of."""
    sections = {loss.name for loss in losses if loss.kind == "section"}
    without_copy = (name for name, held in copies.items() if sections and set(held) <= sections)
    return frozenset((*without_copy, *(loss.name for loss in losses if loss.kind == "datastore")))
