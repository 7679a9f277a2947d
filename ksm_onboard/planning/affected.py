"""Which members a change touches. Pure: what was planned before and after, and the files that differ.

Whatever people declare (declarations, device lists, allocation records, archetypes, profiles, the catalogue, the
platform) goes through the plan, so there it is exact: a member is named if its plan differs, or what it uses of the
platform does. What no plan shows is told by its file, and then named for all members that it may concern: that is exact
for most roles, and says so where it is not (``exact``). A file that nobody knows concerns everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ksm_onboard.planning.changes import Change, changes
from ksm_onboard.planning.plan import MemberPlan, Plan, PlatformPlan

Kind = Literal["adds", "removes", "changes"]


@dataclass(frozen=True)
class Side:
    """What is planned on one side of a change.

    ``members`` are all that are declared; None: it cannot be planned. ``platform`` and ``own`` (the platform's own VMs)
    are None where they cannot be planned, or there are none.
    """

    members: Mapping[str, Plan | None]
    platform: PlatformPlan | None
    own: Plan | None


@dataclass(frozen=True)
class Reason:
    """Why a stack is named. ``exact``: something of it differs for sure; otherwise that is only possible."""

    text: str
    exact: bool


@dataclass(frozen=True)
class Affected:
    """A member, or the platform, that a change touches; ``changes`` are those of its plan, in words."""

    key: str
    kind: Kind
    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A plain mapping for machines."""
        return {
            "key": self.key,
            "kind": self.kind,
            "reasons": [{"text": reason.text, "exact": reason.exact} for reason in self.reasons],
            "changes": [change.as_json() for change in self.changes],
        }


@dataclass(frozen=True)
class Touched:
    """Everything that a change touches: the platform's stack or None, and members by key."""

    platform: Affected | None
    members: tuple[Affected, ...]

    @property
    def to_bring_up(self) -> tuple[str, ...]:
        """The members whose stacks are to be brought up to date: all but those that are no longer declared."""
        return tuple(member.key for member in self.members if member.kind != "removes")

    @property
    def removed(self) -> tuple[str, ...]:
        """The members that are no longer declared; their stacks still stand."""
        return tuple(member.key for member in self.members if member.kind == "removes")


def affected(before: Side, after: Side, files: Iterable[str], platform: str) -> Touched:
    """What differs between two sides. ``files`` are the paths that differ; ``platform`` is the platform's key."""
    concerns = _concerns(sorted(files), platform)
    members = []
    for key in sorted({*before.members, *after.members}):
        if key not in after.members:
            gone = Reason("it is no longer declared; what stands of it stays until it is taken down", exact=True)
            told = changes(before.members[key], None)
            members.append(Affected(key, "removes", (gone,), tuple(told)))
        elif key not in before.members:
            members.append(Affected(key, "adds", (Reason("it is new", exact=True),), _new(after.members[key])))
        else:
            was, now = before.members[key], after.members[key]
            reasons = _merged((*_by_plan(was, now), *_by_files(concerns, key, now.member if now else None)))
            if reasons:
                members.append(Affected(key, "changes", reasons, _told(was, now)))
    return Touched(_platform(before, after, concerns, platform), tuple(members))


def used(plan: Plan) -> Plan:
    """``plan`` with only what the member uses of the platform.

    Left out is what only the platform's own stack carries out, or what sums over all members are compared with (sizes
    of hypervisor hosts and arrays), and entries of tables that the member does not refer to.
    """
    member, platform = plan.member, plan.platform
    disks = [disk for server in member.servers for disk in server.disks]
    tiers = {server.tier for server in member.servers} | {disk.tier for disk in disks}
    tiers |= {store.tier for store in member.datastores}
    templates = {server.template for server in member.servers}
    classes = {backup.backup_class for backup in member.backups}
    copies = {key for backup in member.backups for key in backup.copies}
    holders = {repository.server for repository in platform.backup_repositories if repository.key in copies}
    services = {service for flow in member.flows for service in flow.services}
    places = {end.removeprefix(_SHARED_NETWORK) for flow in member.flows for end in (*flow.sources, *flow.targets)}
    restricted: dict[str, Any] = {
        "templates": tuple(template for template in platform.templates if template.key in templates),
        "tiers": tuple(
            tier.model_copy(update={"arrays": (), "description": ""}) for tier in platform.tiers if tier.key in tiers
        ),
        "backup_classes": tuple(known for known in platform.backup_classes if known.key in classes),
        "backup_repositories": tuple(known for known in platform.backup_repositories if known.key in copies),
        "shared_servers": tuple(server for server in platform.shared_servers if server.name in holders),
        "services": tuple(service for service in platform.services if service.key in services),
        # How long logs and measurements are kept is the collectors' and the monitoring's own affair.
        "baseline": platform.baseline.model_copy(update={"log_retention_days": 0, "metrics_retention_days": 0}),
        "shared_networks": tuple(network for network in platform.shared_networks if network.key in places),
    }
    return plan.model_copy(update={"platform": platform.model_copy(update={**restricted, **_PLATFORMS_OWN})})


_SHOWN: Final = 3
_SHARED_NETWORK: Final = "data-centre:"
_PLATFORMS_OWN: Final[Mapping[str, Any]] = {
    "arrays": (),
    "cluster_settings": None,
    "hypervisor": None,
    "library": None,
    "roles": (),
    "tag_categories": (),
}


def _new(plan: Plan | None) -> tuple[Change, ...]:
    return tuple(changes(None, plan)) if plan is not None else ()


def _told(was: Plan | None, now: Plan | None) -> tuple[Change, ...]:
    """The changes of a plan that has any for this member; nothing is said of what it does not use."""
    if was is None or now is None or used(was) == used(now):
        return ()
    if was.platform == now.platform or used(was).platform != used(now).platform:
        return tuple(changes(was, now))
    return tuple(changes(was, now.model_copy(update={"platform": was.platform})))


def _by_plan(was: Plan | None, now: Plan | None) -> Iterator[Reason]:
    if now is None:
        yield Reason("its declaration has errors: ksm-onboard check says which", exact=False)
    elif was is None:
        yield Reason("it could not be planned before, so nothing can be compared", exact=False)
    else:
        if was.member != now.member:
            yield Reason("its plan changes", exact=True)
        if used(was).platform != used(now).platform:
            yield Reason("what it uses of the platform changes", exact=True)


# --- the platform -------------------------------------------------------------------------


def _platform(before: Side, after: Side, concerns: Iterable[_Concern], key: str) -> Affected | None:
    reasons: list[Reason] = []
    if before.platform is None or after.platform is None:
        reasons.append(Reason("it cannot be planned on both sides, so nothing can be compared", exact=False))
    elif before.platform != after.platform:
        reasons.append(Reason("the platform's plan changes", exact=True))
    was, now = before.own and before.own.member, after.own and after.own.member
    if was != now:
        reasons.append(Reason("the plan of the platform's own VMs changes", exact=True))
    reasons += [concern.reason for concern in concerns if concern.platform]
    told = changes(before.own, after.own) if reasons and before.own is not None and after.own is not None else []
    return Affected(key, "changes", _merged(reasons), tuple(told)) if reasons else None


# --- files that no plan shows -------------------------------------------------------------


@dataclass(frozen=True)
class _Concern:
    """Whom a file concerns that no plan shows."""

    reason: Reason
    concerns: Callable[[str, MemberPlan | None], bool] = field(default=lambda _key, _plan: True)
    platform: bool = True


def _by_files(concerns: Iterable[_Concern], key: str, plan: MemberPlan | None) -> Iterator[Reason]:
    for concern in concerns:
        if concern.concerns(key, plan):
            yield concern.reason


# What is read by people or tests only, or goes through the plan.
_NOTHING: Final = (
    ".ansible-lint",
    ".ci/",
    ".github/",
    ".gitignore",
    ".gitlab-ci.yml",
    ".yamllint",
    "Makefile",
    "README.md",
    "bench/",
    "catalogue/",
    "docs/",
    "inventories/README.md",
    "ksm_onboard/cli/",
    "ksm_onboard/declaration/archetypes/",
    "ksm_onboard/drilling/",
    "ksm_onboard/lab/",
    "ksm_onboard/reporting/",
    "ksm_onboard/takeover/",
    "ksm_onboard/verifying/",
    "lab/",
    "templates/ci/",
    "templates/reports/",
    "templates/takeover/",
    "tests/",
)

# Whose machines run a role. What is not named here concerns everybody.
_LINUX_WORKPLACES: Final = frozenset(("desired_state", "workstation_baseline"))
_WINDOWS_WORKPLACES: Final = frozenset(("windows_applications", "windows_workstation"))
_OF_SERVERS: Final[Mapping[str, str]] = {
    "database_server": "database",
    "dns_server": "dns",
    "file_server": "file",
    "print_server": "print",
}
_OF_EVERY_SERVER: Final = frozenset(("central_registration", "metrics_exporter", "server_baseline"))
_OF_THE_PLATFORM: Final = frozenset(
    ("backup_repository", "log_collector", "monitoring_server", "software_depot", "time_server")
)


def _concerns(paths: list[str], platform: str) -> list[_Concern]:
    found: list[_Concern] = []
    policies: list[str] = []
    first_boot: list[str] = []
    toolkit: list[str] = []
    for path in paths:
        room, _, rest = path.partition("/")
        if room == "stacks" and rest != "__main__.py":
            found += _in_stacks(rest, platform)
        elif path.startswith(("policies/", "ksm_onboard/policies/")):
            policies.append(path)
        elif path.startswith("templates/cloud-init/"):
            first_boot.append(path)
        elif room == "roles" and "/" in rest:
            found.append(_of_role(rest.partition("/")[0]))
        elif not path.startswith(_NOTHING):
            toolkit.append(path)
    if policies:
        found.append(_Concern(Reason(f"every stack is judged anew: the policies change ({_some(policies)})", False)))
    if first_boot:
        text = f"what servers are told at their first boot may change ({_some(first_boot)})"
        found.append(_Concern(Reason(text, exact=False), lambda _key, plan: plan is None or bool(plan.servers)))
    if toolkit:
        text = f"the toolkit itself changes, which may concern everybody ({_some(toolkit)})"
        found.append(_Concern(Reason(text, exact=False)))
    return found


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _in_stacks(rest: str, platform: str) -> Iterator[_Concern]:
    """What of a file in ``stacks/`` no plan shows; declarations, device lists and allocation records are in it."""
    folder, _, name = rest.rpartition("/")
    key = name.partition(".")[0]
    if folder == "approvals":
        reason = Reason(f"an approval changes (stacks/{rest})", exact=True)
    elif folder == "licences":
        reason = Reason(f"seats of licences are recorded otherwise (stacks/{rest})", exact=False)
    else:
        return
    yield _Concern(reason, lambda member, _plan: member == key, platform=key == platform)


def _of_role(role: str) -> _Concern:
    sure, maybe = Reason(f"the role {role} changes", exact=True), Reason(f"the role {role} changes", exact=False)
    if role in _OF_SERVERS:
        wanted = _OF_SERVERS[role]
        return _Concern(sure, lambda _key, plan: plan is None or wanted in _server_roles(plan))
    if role in _OF_EVERY_SERVER:
        return _Concern(sure, lambda _key, plan: plan is None or bool(_server_roles(plan)))
    if role in _LINUX_WORKPLACES:
        return _Concern(sure, lambda _key, plan: plan is None or "linux" in _workplaces(plan), platform=False)
    if role in _WINDOWS_WORKPLACES:
        return _Concern(sure, lambda _key, plan: plan is None or "windows" in _workplaces(plan), platform=False)
    if role == "backup_client":
        return _Concern(sure, lambda _key, plan: plan is None or bool(plan.backups))
    if role == "web_server":
        return _Concern(sure, lambda _key, plan: plan is None or _has_web_server(plan))
    if role in _OF_THE_PLATFORM:
        return _Concern(sure, lambda _key, _plan: False)
    return _Concern(maybe)


def _server_roles(plan: MemberPlan) -> set[str]:
    return {server.role for server in plan.servers if server.platform == "linux"}


def _workplaces(plan: MemberPlan) -> set[str]:
    return {workstation.platform for workstation in plan.workstations}


def _has_web_server(plan: MemberPlan) -> bool:
    return any("nginx" in server.applications for server in plan.servers)


def _merged(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))
