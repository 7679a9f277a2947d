"""What a change to declarations means for a member's plan, in words. Pure: two plans in, changes out.

Everything in a plan is compared, so two plans that differ have at least one change. What
merely follows from something else (pairs' rules, placements, tags) is not told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from ksm_onboard.planning.plan import (
    DatastorePlan,
    FlowPlan,
    FlowRulePlan,
    MemberPlan,
    Plan,
    ServerPlan,
    WorkstationPlan,
    rule_ports,
)

Action = Literal["adds", "removes", "moves", "changes", "opens", "closes"]


@dataclass(frozen=True)
class Change:
    """One consequence, in words.

    ``names`` are the things concerned. ``destroys`` says that data or a machine is lost if the
    plan is carried out.
    """

    action: Action
    what: str
    names: tuple[str, ...]
    text: str
    destroys: bool = False

    def as_json(self) -> dict[str, Any]:
        """A plain mapping for machines."""
        return {
            "action": self.action,
            "what": self.what,
            "names": list(self.names),
            "text": self.text,
            "destroys": self.destroys,
        }


def changes(before: Plan | None, after: Plan | None) -> list[Change]:
    """What differs from ``before`` to ``after``; None: the member is not declared."""
    if before is None or after is None:
        return [_whole_member(before, after)] if (before or after) is not None else []
    return [
        *_fields("the platform", before.platform, after.platform, frozenset()),
        *_member(before.member, after.member),
    ]


def _whole_member(before: Plan | None, after: Plan | None) -> Change:
    plan = after or before
    assert plan is not None  # noqa: S101 - the caller has one
    member = plan.member
    size = (
        f"{_count(len(member.servers), 'VM')}, {_count(len(member.workstations), 'workstation')}, block {member.block}"
    )
    if before is None:
        return Change("adds", "member", (member.key,), f"adds {member.name}: {size}")
    return Change("removes", "member", (member.key,), f"removes {member.name}: {size}", destroys=True)


# What is compared by functions of its own, or follows from what is.
_TABLES = frozenset(
    (
        "datastores",
        "datastore_clusters",
        "servers",
        "workstations",
        "zones",
        "flows",
        "shares",
        "print_queues",
        "databases",
        "published",
        "switches",
        "applications",
        "sites",
        "departments",
    )
)
_FOLLOWS = frozenset(("placements", "pairs", "tags", "folder"))


def _member(before: MemberPlan, after: MemberPlan) -> Iterator[Change]:
    yield from _entries("zone", _by("key", before.zones), _by("key", after.zones), _zone_words)
    yield from _flows(_by("key", before.flows), _by("key", after.flows))
    yield from _datastores(_by("name", before.datastores), _by("name", after.datastores))
    clusters = _by("name", before.datastore_clusters), _by("name", after.datastore_clusters)
    yield from _entries("datastore cluster", *clusters, lambda cluster: f"for fire section {cluster.section}")
    yield from _servers(_by("name", before.servers), _by("name", after.servers))
    yield from _entries("share", _by("name", before.shares), _by("name", after.shares), _share_words)
    old, new = ({f"{q.name} on {q.server}": q for q in m.print_queues} for m in (before, after))
    yield from _entries("print queue", old, new, lambda queue: f"{queue.model}, {queue.address}")
    databases = _by("name", before.databases), _by("name", after.databases)
    yield from _entries("database", *databases, lambda database: f"on {database.primary}", destroys=True)
    published = _by("name", before.published), _by("name", after.published)
    yield from _entries("published name", *published, lambda one: f"from {', '.join(one.servers)}")
    switches = _by("name", before.switches), _by("name", after.switches)
    yield from _entries("switch", *switches, lambda switch: f"at {switch.site}, {switch.address}")
    yield from _entries("site", _by("key", before.sites), _by("key", after.sites), lambda site: site.name)
    yield from _workstations(_by("name", before.workstations), _by("name", after.workstations))
    known = _by("key", before.applications), _by("key", after.applications)
    for key in sorted(known[0].keys() & known[1].keys()):
        yield from _fields(f"the application {key}", known[0][key], known[1][key], frozenset())
    for key in sorted(before.departments.keys() | after.departments.keys()):
        was, now = before.departments.get(key), after.departments.get(key)
        if was is None or now is None:
            action: Action = "adds" if was is None else "removes"
            yield Change(action, "department", (key,), f"{action} the department {now or was}")
        elif was != now:
            yield Change("changes", "department", (key,), f"renames the department {was} to {now}")
    yield from _fields("the member", before, after, _TABLES | _FOLLOWS)


# --- flows --------------------------------------------------------------------------------


def _flows(before: Mapping[str, FlowPlan], after: Mapping[str, FlowPlan]) -> Iterator[Change]:
    """What may be opened that could not before, and the other way round."""
    for key in dict.fromkeys((*before, *after)):
        was, now = before.get(key), after.get(key)
        if was is None or now is None:
            flow = now or was
            assert flow is not None  # noqa: S101 - one of the two has it
            action: Action = "opens" if was is None else "closes"
            ends = f"from {', '.join(flow.sources)} to {', '.join(flow.targets)}"
            yield Change(action, "flow", (key,), f"{action} {', '.join(flow.services)} {ends} ({key}: {flow.reason})")
        elif was != now:
            yield from _flow(key, was, now)


def _flow(key: str, was: FlowPlan, now: FlowPlan) -> Iterator[Change]:
    old, new = _rules_by_words(was), _rules_by_words(now)
    for words in sorted(new.keys() - old.keys()):
        yield Change("opens", "flow", (key,), f"opens {words} ({key})")
    for words in sorted(old.keys() - new.keys()):
        yield Change("closes", "flow", (key,), f"closes {words} ({key})")
    for words in sorted(old.keys() & new.keys()):
        if old[words] != new[words]:
            text = f"changes addresses for {words} ({key}): {_rule_ends(old[words])} becomes {_rule_ends(new[words])}"
            yield Change("changes", "flow", (key,), text)
    yield from _fields(f"the flow {key}", was, now, frozenset(("rules", "sources", "targets")))


def _rules_by_words(flow: FlowPlan) -> dict[str, FlowRulePlan]:
    return {
        f"{rule_ports(rule)} from {rule.source.name} to {rule.target.name}"
        + (" (switched, no gateway)" if rule.switched else ""): rule
        for rule in flow.rules
    }


def _rule_ends(rule: FlowRulePlan) -> str:
    return " → ".join(", ".join(map(str, end.networks)) for end in (rule.source, rule.target))


# --- storage ------------------------------------------------------------------------------


def _datastores(before: Mapping[str, DatastorePlan], after: Mapping[str, DatastorePlan]) -> Iterator[Change]:
    """Exports first: the array's administrator must have made them larger before anything uses the room."""
    for name, store in after.items():
        if name not in before:
            text = f"adds the datastore {name} ({store.size_gib} GiB of {store.array}, {store.remote_path})"
            yield Change("adds", "datastore", (name,), text)
    for name, store in before.items():
        if name not in after:
            text = f"removes the datastore {name} ({store.size_gib} GiB of {store.array})"
            yield Change("removes", "datastore", (name,), text, destroys=True)
    for name in before:
        if name not in after:
            continue
        was, now = before[name], after[name]
        if was.size_gib != now.size_gib:
            verb = "grows" if now.size_gib > was.size_gib else "shrinks"
            text = f"datastore {name} {verb} from {was.size_gib} to {now.size_gib} GiB"
            yield Change("changes", "datastore", (name,), text, now.size_gib < was.size_gib)
        others = frozenset(("size_gib", "need_gib", "tags"))  # the need follows from disks and memory
        destroys = any(getattr(was, field) != getattr(now, field) for field in ("array", "remote_host", "remote_path"))
        yield from _fields(f"the datastore {name}", was, now, others, destroys=destroys)


# --- servers ------------------------------------------------------------------------------

_SERVER_FOLLOWS = frozenset(("tags", "port_group", "fqdn", "prefix_length", "gateway", "dns_servers", "disks"))


def _servers(before: Mapping[str, ServerPlan], after: Mapping[str, ServerPlan]) -> Iterator[Change]:
    for name, server in after.items():
        if name not in before:
            size = f"{server.role}, {server.cpus} vCPU, {server.memory_mib // 1024} GiB, section {server.section}"
            yield Change("adds", "server", (name,), f"adds the VM {name} ({size}, {server.address})")
    for name, server in before.items():
        if name not in after:
            lost = f" and {_count(len(server.disks), 'data disk')}" if server.disks else ""
            yield Change("removes", "server", (name,), f"removes the VM {name}{lost}", destroys=True)
    for name in before:
        if name in after:
            yield from _server(name, before[name], after[name])
    yield from _grouped(before, after, ("dns_servers",), "server", "VM")


def _server(name: str, was: ServerPlan, now: ServerPlan) -> Iterator[Change]:
    words: dict[str, tuple[Action, str, bool]] = {
        "address": ("moves", f"moves {name} from {was.address} to {now.address}", False),
        "zone": ("moves", f"moves {name} from the zone {was.zone} to {now.zone}", False),
        "section": ("moves", f"moves {name} from fire section {was.section} to {now.section}", False),
        "datastore": ("moves", f"moves the system disk of {name} from {was.datastore} to {now.datastore}", False),
        "cpus": ("changes", f"gives {name} {now.cpus} vCPU instead of {was.cpus}", False),
        "memory_mib": (
            "changes",
            f"gives {name} {now.memory_mib // 1024} GiB of memory instead of {was.memory_mib // 1024}",
            False,
        ),
        "template": ("changes", f"rebuilds {name} from {now.template} instead of {was.template}", True),
        "applications": ("changes", _list_words(name, was.applications, now.applications), False),
    }
    for field in type(was).model_fields:
        if field not in _SERVER_FOLLOWS and getattr(was, field) != getattr(now, field):
            plain = (
                f"changes {_words(field)} of {name} from {_value(getattr(was, field))} to {_value(getattr(now, field))}"
            )
            action, text, destroys = words.get(field, ("changes", plain, False))
            yield Change(action, "server", (name,), text, destroys)
    disks = _by("name", was.disks), _by("name", now.disks)
    for key in dict.fromkeys((*disks[0], *disks[1])):
        old, new = disks[0].get(key), disks[1].get(key)
        if old is None and new is not None:
            yield Change("adds", "disk", (name,), f"adds the data disk {key} ({new.size_gib} GiB) to {name}")
        elif new is None and old is not None:
            text = f"removes the data disk {key} ({old.size_gib} GiB) of {name}"
            yield Change("removes", "disk", (name,), text, destroys=True)
        elif old is not None and new is not None:
            if old.size_gib != new.size_gib:
                shrinks = new.size_gib < old.size_gib
                verb = "shrinks" if shrinks else "grows"
                text = f"the data disk {key} of {name} {verb} from {old.size_gib} to {new.size_gib} GiB"
                yield Change("changes", "disk", (name,), text, shrinks)
            moves = (old.datastore, old.vmdk) != (new.datastore, new.vmdk)
            yield from _fields(f"the data disk {key} of {name}", old, new, frozenset(("size_gib",)), destroys=moves)


def _list_words(name: str, was: tuple[str, ...], now: tuple[str, ...]) -> str:
    added, dropped = [key for key in now if key not in was], [key for key in was if key not in now]
    parts = [f"adds {', '.join(added)} to {name}"] if added else []
    parts += [f"drops {', '.join(dropped)} from {name}"] if dropped else []
    return "; ".join(parts) or f"changes the order of installation on {name}"


# --- workstations -------------------------------------------------------------------------

# Told by functions of their own, or following from the domain and the zone.
_WORKSTATION_FOLLOWS = frozenset(("name", "applications", "address", "fqdn", "prefix_length", "gateway"))


def _workstations(before: Mapping[str, WorkstationPlan], after: Mapping[str, WorkstationPlan]) -> Iterator[Change]:
    new = tuple(name for name in after if name not in before)
    gone = tuple(name for name in before if name not in after)
    if new:
        yield Change("adds", "workstation", new, f"adds {_many(new, 'workstation')}")
    if gone:
        yield Change("removes", "workstation", gone, f"removes {_many(gone, 'workstation')}")
    added: dict[str, list[str]] = {}
    dropped: dict[str, list[str]] = {}
    reordered: list[str] = []
    for name in before:
        if name not in after or (was := before[name].applications) == (now := after[name].applications):
            continue
        for key in set(now) - set(was):
            added.setdefault(key, []).append(name)
        for key in set(was) - set(now):
            dropped.setdefault(key, []).append(name)
        if set(was) == set(now):
            reordered.append(name)
    for key in sorted(added):
        names = tuple(added[key])
        yield Change("adds", "application", names, f"adds {key} to {_many(names, 'workstation')}")
    for key in sorted(dropped):
        names = tuple(dropped[key])
        yield Change("removes", "application", names, f"drops {key} from {_many(names, 'workstation')}")
    if reordered:
        text = f"changes the order of installation on {_many(tuple(reordered), 'workstation')}"
        yield Change("changes", "application", tuple(reordered), text)
    for name in before:
        if name in after and before[name].address != after[name].address:
            text = f"moves {name} from {before[name].address} to {after[name].address}"
            yield Change("moves", "workstation", (name,), text)
    others = tuple(field for field in WorkstationPlan.model_fields if field not in _WORKSTATION_FOLLOWS)
    yield from _grouped(before, after, others, "workstation", "workstation")


def _grouped(
    before: Mapping[str, Any], after: Mapping[str, Any], fields: tuple[str, ...], what: str, noun: str
) -> Iterator[Change]:
    """The same change of the same field of many machines as one."""
    same: dict[tuple[str, str, str], list[str]] = {}
    for name in before:
        if name in after:
            for field in fields:
                was, now = getattr(before[name], field), getattr(after[name], field)
                if was != now:
                    same.setdefault((field, _value(was), _value(now)), []).append(name)
    for (field, before_value, after_value), names in same.items():
        text = f"changes {_words(field)} of {_many(tuple(names), noun)} from {before_value} to {after_value}"
        yield Change("changes", what, tuple(names), text)


# --- everything else ----------------------------------------------------------------------


def _entries(
    what: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    describe: Callable[[Any], str],
    *,
    destroys: bool = False,
) -> Iterator[Change]:
    for key in dict.fromkeys((*before, *after)):
        if key not in before:
            yield Change("adds", what, (key,), f"adds the {what} {key} ({describe(after[key])})")
        elif key not in after:
            yield Change("removes", what, (key,), f"removes the {what} {key} ({describe(before[key])})", destroys)
        else:
            yield from _fields(f"the {what} {key}", before[key], after[key], frozenset(("tags",)))


def _fields(
    whose: str, before: BaseModel, after: BaseModel, without: frozenset[str], *, destroys: bool = False
) -> Iterator[Change]:
    """Every field that differs, one change each; nested models by their own fields."""
    for field in type(before).model_fields:
        was, now = getattr(before, field), getattr(after, field)
        if field in without or was == now:
            continue
        if isinstance(was, BaseModel) and isinstance(now, BaseModel):
            yield from _fields(f"{_words(field)} of {whose}", was, now, frozenset())
        elif (key := _keyed(was) or _keyed(now)) and all(side == () or _keyed(side) == key for side in (was, now)):
            yield from _table(f"the {_words(field)} of {whose}", _by(key, was), _by(key, now))
        else:
            text = f"changes {_words(field)} of {whose} from {_value(was)} to {_value(now)}"
            yield Change("changes", whose, (), text, destroys)


def _table(whose: str, before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]) -> Iterator[Change]:
    for key in dict.fromkeys((*before, *after)):
        if key not in before:
            yield Change("adds", whose, (key,), f"adds {key} to {whose}")
        elif key not in after:
            yield Change("removes", whose, (key,), f"removes {key} from {whose}")
        else:
            yield from _fields(f"{key} in {whose}", before[key], after[key], frozenset())
    if before == after:  # the same entries in another order
        yield Change("changes", whose, (), f"changes the order of {whose}")


def _keyed(value: Any) -> str:
    """The field that tells the models of a tuple apart; empty if it is no tuple of such models."""
    if not isinstance(value, tuple) or not value or not all(isinstance(item, BaseModel) for item in value):
        return ""
    for field in ("key", "name", "principal"):
        names = [getattr(item, field, None) for item in value]
        if None not in names and len(set(names)) == len(names):
            return field
    return ""


def _by(field: str, models: Any) -> dict[str, Any]:
    return {getattr(model, field): model for model in models}


def _zone_words(zone: Any) -> str:
    return f"{zone.cidr}, VLAN {zone.vlan}"


def _share_words(share: Any) -> str:
    return f"{share.server}:{share.path}"


def _words(field: str) -> str:
    return field.replace("_gib", " in GiB").replace("_mib", " in MiB").replace("_mhz", " in MHz").replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_value(item) for item in value) or "nothing"
    return "nothing" if value in (None, "") else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _many(names: tuple[str, ...], noun: str) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{_count(len(names), noun)} ({shown})"
