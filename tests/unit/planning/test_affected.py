"""Whom a change touches: exactly those whose plan or inventory differs, and whoever a file may concern otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksm_onboard.configuring.inventory import render_inventory, render_platform_inventory
from ksm_onboard.connection import Connection
from ksm_onboard.planning.affected import (
    _LINUX_WORKPLACES,
    _OF_SERVERS,
    _WINDOWS_WORKPLACES,
    Side,
    Touched,
    affected,
    used,
)
from ksm_onboard.planning.at_ref import archetypes_of
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan, TemplatePlan
from ksm_onboard.planning.sides import side
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

MEMBERS = ("grabow", "schule-crivitz", "schule-hagenow", "wohnungsgesellschaft", "zoo")
SCHOOLS = ("schule-crivitz", "schule-hagenow")
ARCHETYPES = Path("ksm_onboard/declaration/archetypes")

CONNECTION = Connection.model_validate(
    {
        "name": "lab",
        "vcenter": {"server": "192.0.2.1", "user": "svc@vsphere.local", "password_file": "/state/password"},
        "guests": {"private_key_file": "/state/ops"},
        "trust": {"root_ca_file": "/state/ca.pem"},
        "windows": {},
    }
)


def small_verbund(root: Path) -> Project:
    """A checkout that declares a few members of different kinds."""
    shutil.copytree(ROOT / "catalogue", root / "catalogue")
    shutil.copytree(ROOT / ARCHETYPES, root / ARCHETYPES)
    (root / "stacks" / "allocations").mkdir(parents=True)
    for key in (*MEMBERS, PLATFORM):
        for name in (f"{key}.yaml", f"{key}.devices.csv", f"allocations/{key}.yaml"):
            if (ROOT / "stacks" / name).exists():
                shutil.copy(ROOT / "stacks" / name, root / "stacks" / name)
    shutil.copy(ROOT / "Pulumi.yaml", root)
    return Project(root)


@pytest.fixture
def verbund(tmp_path: Path) -> Project:
    return small_verbund(tmp_path)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return planned(small_verbund(tmp_path_factory.mktemp("before")))


def planned(project: Project) -> Side:
    return side(Declarations(project, archetypes_of(project)))


Edit = Callable[[Project], object]


def sub(name: str | Path, old: str, new: str) -> Edit:
    """Replace ``old``, which the file must hold, by ``new``."""

    def edit(project: Project) -> None:
        file = project.root / name
        text = file.read_text()
        assert old in text, f"{name} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    return edit


def merge(name: str | Path, path: str, value: Any) -> Edit:
    """Set the value at the dotted ``path`` of a YAML file; comments are lost."""

    def edit(project: Project) -> None:
        file = project.root / name
        data = yaml.safe_load(file.read_text())
        *above, last = path.split(".")
        table = data
        for key in above:
            table = table.setdefault(key, {})
        table[last] = value
        file.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))

    return edit


def inventory(plan: Plan) -> dict[str, str]:
    names = [server.name for server in plan.member.servers]
    names += [server.name for server in plan.platform.shared_servers]
    names += [server.name for server in plan.platform.all_central_servers]
    keys = dict.fromkeys(names, "ssh-ed25519 AAAA")
    outputs = {"servers": {server.name: {"address": str(server.address)} for server in plan.member.servers}}
    return render_inventory(
        plan,
        CONNECTION,
        outputs=outputs,
        host_keys=keys,
        secrets=Path("/state/secrets/x/y"),
        machine_certificates=Path("/state/certificates"),
    )


EVERYBODY = set(MEMBERS)
CHANGES: dict[str, tuple[Edit, set[str], bool]] = {
    # what, whom it touches, whether it touches the platform
    "archetype": (merge(ARCHETYPES / "schule.yaml", "servers.dns.memory_gib", 6), set(SCHOOLS), False),
    "a comment in an archetype": (sub(ARCHETYPES / "schule.yaml", "# A school", "# Any school"), set(), False),
    "archetype of nobody": (merge(ARCHETYPES / "amt.yaml", "compute.memory_gib", 999), set(), False),
    "shared profile": (
        merge(ARCHETYPES / "profiles.yaml", "profiles.standard.applications", ["gdal-tools"]),
        {"grabow"},
        False,
    ),
    "catalogue": (merge("catalogue/zoo.yaml", "applications.easyvet.product", "easyVET 2"), {"zoo"}, False),
    "catalogue, of nobody": (
        merge(
            "catalogue/zoo.yaml",
            "applications.nobodys",
            {
                "product": "Nobody's",
                "vendor": "Nobody",
                "job": "nothing",
                "platforms": ["windows"],
                "component": "client",
                "licence": "free",
                "packages": {"media": "vendor"},
            },
        ),
        set(),
        False,
    ),
    "declaration": (merge("stacks/zoo.yaml", "member.responsible", "Jemand anderes"), {"zoo"}, False),
    "device list": (
        sub("stacks/zoo.devices.csv", "zoo-ws0002;ZOO20260002;", "zoo-ws0002;ZOO20269999;"),
        {"zoo"},
        False,
    ),
    "allocation": (
        merge("stacks/allocations/grabow.yaml", "disks.gra-archiv01", "gra-silver-local-b"),
        {"grabow"},
        False,
    ),
    "size of hypervisor hosts": (merge("stacks/schwerin.yaml", "hypervisor.memory_gib", 4096), set(), True),
    "login banner": (merge("stacks/schwerin.yaml", "baseline.login_banner", "Finger weg"), EVERYBODY, True),
    "platform's own VM": (merge("stacks/schwerin.yaml", "shared.vms.core01.memory_gib", 3), set(), True),
    "broken declaration": (merge("stacks/zoo.yaml", "member.kind", "zooo"), {"zoo"}, False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_exactly_those_are_named_whom_it_touches(what: str, before: Side, verbund: Project) -> None:
    edit, wanted, of_platform = CHANGES[what]
    edit(verbund)
    after = planned(verbund)
    touched = affected(before, after, (), PLATFORM)
    named = {member.key for member in touched.members}
    assert named == wanted
    assert (touched.platform is not None) == of_platform
    for key in EVERYBODY - named:
        was, now = before.members[key], after.members[key]
        assert was is not None
        assert now is not None
        assert was.member == now.member
        assert inventory(was) == inventory(now)
    for member in touched.members:
        assert member.reasons
        if after.members[member.key] is not None:
            assert all(reason.exact for reason in member.reasons)
            assert member.changes
    if not of_platform:
        assert inventory_of_platform(before) == inventory_of_platform(after)


def inventory_of_platform(planned: Side) -> dict[str, str]:
    assert planned.platform is not None
    assert planned.own is not None
    servers = planned.own.member.servers
    outputs = {"machines": {"servers": {s.name: {"address": str(s.address)} for s in servers}}}
    names = [*(s.name for s in servers), *(s.name for s in planned.platform.shared_servers)]
    keys = dict.fromkeys(names, "ssh-ed25519 AAAA")
    return render_platform_inventory(
        planned.platform,
        planned.own,
        CONNECTION,
        outputs=outputs,
        host_keys=keys,
        secrets=Path("/state/secrets/schwerin"),
        machine_certificates=Path("/state/certificates"),
    )


def test_what_a_member_uses_of_the_platform_is_all_that_its_inventory_knows(before: Side) -> None:
    for plan in before.members.values():
        assert plan is not None
        assert inventory(used(plan)) == inventory(plan)


def test_members_that_come_and_go(before: Side, verbund: Project) -> None:
    (verbund.stacks / "zoo.yaml").unlink()
    touched = affected(before, planned(verbund), (), PLATFORM)
    assert [(member.key, member.kind) for member in touched.members] == [("zoo", "removes")]
    assert touched.removed == ("zoo",)
    assert touched.to_bring_up == ()
    back = affected(planned(verbund), before, (), PLATFORM)
    assert [(member.key, member.kind) for member in back.members] == [("zoo", "adds")]
    assert back.to_bring_up == ("zoo",)
    assert back.members[0].changes[0].text.startswith("adds Zoologischer Garten")


def test_a_template_concerns_those_who_use_it(before: Side) -> None:
    """Grabow alone gets another template; the platform offers one more, and none to the others."""
    more = TemplatePlan(key="debian-13", name="debian-13", guest_id="debian12_64Guest", disk_gib=40)
    after = {}
    for key, plan in before.members.items():
        assert plan is not None
        platform = plan.platform.model_copy(update={"templates": (*plan.platform.templates, more)})
        after[key] = plan.model_copy(update={"platform": platform})
    grabow = after["grabow"]
    first, *others = grabow.member.servers
    rebuilt = (first.model_copy(update={"template": "debian-13"}), *others)
    after["grabow"] = grabow.model_copy(update={"member": grabow.member.model_copy(update={"servers": rebuilt})})
    touched = affected(before, Side(after, before.platform, before.own), (), PLATFORM)
    assert [member.key for member in touched.members] == ["grabow"]


# --- files that no plan shows -------------------------------------------------------------


def by_file(before: Side, *paths: str) -> Touched:
    return affected(before, before, paths, PLATFORM)


def having(before: Side, wanted: Callable[[Plan], object]) -> list[str]:
    return [key for key, plan in sorted(before.members.items()) if plan is not None and wanted(plan)]


def test_a_role_concerns_those_whose_machines_run_it(before: Side) -> None:
    for role, wanted in (
        ("database_server", lambda plan: any(s.role == "database" for s in plan.member.servers)),
        ("windows_workstation", lambda plan: any(w.platform == "windows" for w in plan.member.workstations)),
        ("workstation_baseline", lambda plan: any(w.platform == "linux" for w in plan.member.workstations)),
        ("web_server", lambda plan: any("nginx" in s.applications for s in plan.member.servers)),
        ("backup_client", lambda plan: plan.member.backups),
    ):
        touched = by_file(before, f"roles/{role}/tasks/main.yml")
        assert [member.key for member in touched.members] == having(before, wanted), role
        assert all(reason.exact for member in touched.members for reason in member.reasons)
    assert having(before, lambda plan: any(s.role == "database" for s in plan.member.servers)) != sorted(MEMBERS)
    only_platform = by_file(before, "roles/time_server/tasks/main.yml")
    assert only_platform.platform
    assert not only_platform.members


@pytest.mark.parametrize(
    "path",
    [
        "roles/not_known_here/tasks/main.yml",
        "roles/site.yml",
        "stacks/__main__.py",
        "policies/__main__.py",
        "templates/cloud-init/userdata.yaml.j2",
        "ksm_onboard/provisioning/server.py",
        "something/new.txt",
    ],
)
def test_what_may_concern_everybody_says_that_it_is_not_exact(before: Side, path: str) -> None:
    touched = by_file(before, path)
    assert {member.key for member in touched.members} == EVERYBODY
    assert touched.platform
    assert not any(reason.exact for member in touched.members for reason in member.reasons)
    assert all(len(member.reasons) == 1 and not member.changes for member in touched.members)


@pytest.mark.parametrize("path", ["docs/tutorial.md", "tests/unit/x.py", "templates/reports/x.j2", "lab/engine/go.mod"])
def test_what_nobody_is_configured_from_concerns_nobody(before: Side, path: str) -> None:
    touched = by_file(before, path)
    assert not touched.members
    assert touched.platform is None


def test_records_beside_the_plan_concern_their_member(before: Side) -> None:
    touched = by_file(before, "stacks/licences/zoo.yaml", "stacks/approvals/grabow.yaml")
    assert [member.key for member in touched.members] == ["grabow", "zoo"]
    assert touched.platform is None
    own = by_file(before, f"stacks/approvals/{PLATFORM}.yaml")
    assert own.platform
    assert not own.members


def test_every_role_of_the_table_exists() -> None:
    tables = (_OF_SERVERS, _LINUX_WORKPLACES, _WINDOWS_WORKPLACES)
    for role in {name for table in tables for name in table}:
        assert (ROOT / "roles" / role).is_dir(), role


def test_addresses_of_another_member_that_flows_name(before: Side) -> None:
    """A plan that differs in a single address is named."""
    plan = before.members["zoo"]
    assert plan is not None
    first, *others = plan.member.servers
    moved = first.model_copy(update={"address": IPv4Address("10.64.97.99")})
    member = plan.member.model_copy(update={"servers": (moved, *others)})
    after = Side({**before.members, "zoo": plan.model_copy(update={"member": member})}, before.platform, before.own)
    assert [one.key for one in affected(before, after, (), PLATFORM).members] == ["zoo"]
