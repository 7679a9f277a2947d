"""What a run that stopped has left half made: pairs and groups whose redundancy is not there yet. Pure.

Read from the stack's state, as ``pulumi stack export`` tells it: each server's component says which pair and fire
section it was planned for, whether or not its VM came to be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_SERVER = "ksm:member:Server"
_VM = "vsphere:index/virtualMachine:VirtualMachine"
_APART = "vsphere:index/computeClusterVmAntiAffinityRule:ComputeClusterVmAntiAffinityRule"
_VM_GROUP = "vsphere:index/computeClusterVmGroup:ComputeClusterVmGroup"
_IN_SECTION = "vsphere:index/computeClusterVmHostRule:ComputeClusterVmHostRule"


@dataclass(frozen=True)
class _Server:
    """A planned server, and what there is of its VM; ``vm`` is its id, empty without one."""

    name: str
    pair: str
    section: str
    vm: str = ""
    finished: bool = False

    def __str__(self) -> str:
        return f"{self.name} (section {self.section})"


@dataclass(frozen=True)
class _Rules:
    """Of which VMs the state knows rules, by their ids."""

    apart: list[set[str]] = field(default_factory=list)
    in_section: set[str] = field(default_factory=set)


def half_made(exported: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each pair or group that is not whole, in the order of their names; nothing if all are.

    A pair that nothing is there of yet is not half made and not mentioned.
    """
    resources = (exported.get("deployment") or {}).get("resources") or ()
    rules = _rules(resources)
    groups: dict[str, list[_Server]] = defaultdict(list)
    for server in _servers(resources):
        groups[server.pair].append(server)
    return tuple(line for pair in sorted(groups) for line in _told(pair, groups[pair], rules))


def _told(pair: str, servers: list[_Server], rules: _Rules) -> Iterator[str]:
    standing = [server for server in servers if server.finished]
    begun = [server for server in servers if server.vm and not server.finished]
    missing = [server for server in servers if not server.vm]
    if not standing and not begun:
        return
    if not begun and not missing:
        yield from _bonds(pair, servers, rules)
        return
    told = [f"of the pair {pair} {_standing(standing)}"]
    if begun:
        is_, its = ("is", "its") if len(begun) == 1 else ("are", "their")
        told.append(f"{_all(begun)} {is_} there, but {its} start was not finished")
    if missing:
        told.append(f"{_all(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    yield "; ".join(told)


def _standing(servers: list[_Server]) -> str:
    match servers:
        case []:
            return "nothing works yet"
        case [alone]:
            return f"only {alone.name} stands, in section {alone.section}"
        case several:
            return f"only {_all(several)} stand"


def _bonds(pair: str, servers: list[_Server], rules: _Rules) -> Iterator[str]:
    """A pair that stands is only one if vCenter knows that it is."""
    if len(servers) < 2:
        return
    vms = {server.vm for server in servers}
    loose = [server for server in servers if server.vm not in rules.in_section]
    lacking = []
    if not any(vms <= together for together in rules.apart):
        lacking.append("no rule keeps them on different hosts yet")
    if loose:
        lacking.append(f"no rule ties {_all(loose)} to its section yet")
    if lacking:
        names = ", ".join(str(server) for server in servers)
        yield f"the servers of the pair {pair} stand: {names}; but {', and '.join(lacking)}"


def _all(servers: Iterable[_Server]) -> str:
    return ", ".join(str(server) for server in servers)


def _servers(resources: Iterable[Mapping[str, Any]]) -> list[_Server]:
    """The servers that belong to a pair, by name: the state has them in the order in which they were registered."""
    vms = {entry.get("parent", ""): entry for entry in resources if entry["type"] == _VM and not entry.get("delete")}
    found = []
    for entry in resources:
        inputs = entry.get("inputs") or {}
        if entry["type"] != _SERVER or not inputs.get("pair"):
            continue
        vm = vms.get(entry["urn"], {})
        found.append(
            _Server(
                name=entry["urn"].rsplit("::", 1)[-1],
                pair=inputs["pair"],
                section=inputs.get("section", "?"),
                vm=vm.get("id", ""),
                finished=bool(vm.get("id")) and not vm.get("initErrors"),
            )
        )
    return sorted(found, key=lambda server: server.name)


def _rules(resources: Iterable[Mapping[str, Any]]) -> _Rules:
    rules, groups, tied = _Rules(), {}, set()
    for entry in resources:
        inputs = entry.get("inputs") or {}
        if entry.get("delete") or not entry.get("id"):
            continue
        if entry["type"] == _APART:
            rules.apart.append(set(inputs.get("virtualMachineIds") or ()))
        elif entry["type"] == _VM_GROUP:
            groups[inputs.get("name")] = set(inputs.get("virtualMachineIds") or ())
        elif entry["type"] == _IN_SECTION:
            tied.add(inputs.get("vmGroupName"))
    for name, vms in groups.items():
        if name in tied:
            rules.in_section.update(vms)
    return rules
