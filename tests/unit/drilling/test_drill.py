"""The course of a drill, with a data centre that is only a few variables, and the clock made fast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ksm_onboard.connection import Connection, load_connection
from ksm_onboard.drilling import drill as drill_module
from ksm_onboard.drilling import watching as watching_module
from ksm_onboard.drilling.drill import drill, foretell
from ksm_onboard.drilling.inventory import Host, Inventory, Machine
from ksm_onboard.drilling.loss import Loss, UnknownLossError, named, parse_loss, parse_losses
from ksm_onboard.drilling.result import DrillResult, load_results, save_result
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.it_services import it_services
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan, ProbeKind
from ksm_onboard.progress import Silent
from ksm_onboard.project import find_project
from ksm_onboard.verifying.vcenter_facts import ClusterFacts

NOW = datetime(2027, 3, 1, 19, 0, tzinfo=UTC)
SECTION_A = Loss(kind="section", name="A")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Declarations(find_project()).plan("grabow")


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    file = tmp_path / "connection.yaml"
    file.write_text(
        "name: lab\nsimulated: true\n"
        "vcenter: {server: '127.0.0.1:1', user: x, password_file: x, ca_file: x}\n"
        "guests: {user: ops, private_key_file: x, port: 22, loopback_shift: 0}\n"
        "trust: {root_ca_file: x}\n"
    )
    return load_connection(file)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_module, "AT_LEAST_WATCHED", 0.3)
    monkeypatch.setattr(drill_module, "SETTLES_WITHIN", 1.5)
    monkeypatch.setattr(drill_module, "FIRST_ANSWERS_WITHIN", 0.5)
    monkeypatch.setattr(drill_module, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(watching_module, "INTERVAL_SECONDS", 0.01)


class World:
    """Two hosts; a machine on a lost one falls silent and comes back on the other, unless it ``stays_down``."""

    def __init__(self, plan: Plan, *, stays_down: tuple[str, ...] = (), moves_back: bool = True) -> None:
        self.plan, self.stays_down, self.moves_back = plan, stays_down, moves_back
        self.first: dict[str, str] = {section.key: section.hosts[0] for section in plan.platform.sections}
        self.runs: dict[str, str | None] = {s.name: self.first[s.section] for s in plan.member.servers}
        self.asked_silent: set[str] = set()
        self.lost: list[Loss] = []
        self.given_back: list[Loss] = []

    def lose(self, loss: Loss) -> None:
        self.lost.append(loss)
        for name, host in self.runs.items():
            if host == self.first[loss.name]:
                self.runs[name] = None

    def restore(self, loss: Loss) -> None:
        self.given_back.append(loss)
        if self.moves_back:
            self.runs = {s.name: self.first[s.section] for s in self.plan.member.servers}
        else:
            self.runs = dict.fromkeys(self.runs, self.first["B"])

    def ask(self, _kind: ProbeKind, address: str, _name: str) -> bool:
        [server] = [s.name for s in self.plan.member.servers if str(s.address).split(".")[1:] == address.split(".")[1:]]
        if self.runs[server] is None:
            # HA restarts it after it was missed at least once.
            if server in self.asked_silent and server not in self.stays_down:
                self.runs[server] = self.first["B"]
            self.asked_silent.add(server)
            return False
        return True

    def read(self) -> Inventory:
        stores = frozenset(store.name for store in self.plan.member.datastores)
        return Inventory(
            cluster=ClusterFacts(
                name="c",
                drs_enabled=True,
                ha_enabled=True,
                settings={},
                restart_priorities={},
                rules=(),
                vm_groups={},
                host_groups={},
            ),
            hosts=tuple(
                Host(name=name, connected=True, memory_mib=10**6, datastores=stores) for name in self.first.values()
            ),
            machines=tuple(
                Machine(
                    name=s.name,
                    host=self.runs[s.name],
                    powered_on=self.runs[s.name] is not None,
                    memory_mib=s.memory_mib,
                    datastores=frozenset((s.datastore, *(disk.datastore for disk in s.disks))),
                    priority="medium",
                )
                for s in self.plan.member.servers
            ),
        )

    def drill(self, connection: Connection) -> DrillResult:
        return drill(
            connection, self.plan, (SECTION_A,), self, now=NOW, progress=Silent(), read=self.read, ask=self.ask
        )


def test_what_is_lost_comes_back_and_is_judged(plan: Plan, connection: Connection) -> None:
    world = World(plan)
    result = world.drill(connection)
    assert world.lost == world.given_back == [SECTION_A]
    in_a = {s.name for s in plan.member.servers if s.section == "A"}
    assert in_a and {told.server for told in result.returns} == in_a
    assert [told.after_seconds for told in result.returns] == sorted(told.after_seconds for told in result.returns)
    assert {service.key for service in result.services} == {service.key for service in it_services(plan)}
    assert all(service.outcome in ("stayed", "returned") for service in result.services)
    assert result.kept and not result.displaced and not result.silent
    pairs = [s for s in it_services(plan) if len({plan.member.server(name).section for name in s.servers}) == 2]
    stayed = {service.key for service in result.services if service.outcome == "stayed"}
    assert pairs and {service.key for service in pairs} <= stayed


def test_what_stays_down_breaks_its_promise(plan: Plan, connection: Connection) -> None:
    [single] = [s for s in it_services(plan) if s.key == "gra-file01"]
    server = plan.member.server(single.servers[0])
    world = World(plan, stays_down=(server.name,))
    world.runs = dict.fromkeys(world.runs, world.first["A"])
    result = world.drill(connection)
    [found] = [service for service in result.services if service.key == single.key]
    assert (found.outcome, found.kept) == ("lost", False)
    assert not result.kept
    assert single.key in result.surprises


def test_servers_that_are_not_back_in_their_section_are_named(plan: Plan, connection: Connection) -> None:
    result = World(plan, moves_back=False).drill(connection)
    assert result.displaced == tuple(s.name for s in plan.member.servers if s.section == "A")
    assert not result.kept


def test_a_drill_that_fails_gives_everything_back(
    plan: Plan, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(plan)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drill_module, "_until_settled", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.drill(connection)
    assert world.given_back == [SECTION_A]


def test_what_cannot_be_lost_gives_back_what_was_lost_before_it(
    plan: Plan, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, section_b = World(plan), Loss(kind="section", name="B")
    losing = world.lose

    def only_a(loss: Loss) -> None:
        if loss == section_b:
            raise NotReadyError("no")
        losing(loss)

    monkeypatch.setattr(world, "lose", only_a)
    with pytest.raises(NotReadyError):
        drill(
            connection, plan, (SECTION_A, section_b), world, now=NOW, progress=Silent(), read=world.read, ask=world.ask
        )
    assert SECTION_A in world.given_back


def test_nothing_is_lost_where_something_is_silent_already(plan: Plan, connection: Connection) -> None:
    world = World(plan)
    mute = plan.member.servers[0].name

    def ask(kind: ProbeKind, address: str, name: str) -> bool:
        return world.ask(kind, address, name) and not address.endswith(
            str(plan.member.servers[0].address).split(".")[-1]
        )

    with pytest.raises(NotReadyError, match=mute):
        drill(connection, plan, (SECTION_A,), world, now=NOW, progress=Silent(), read=world.read, ask=ask)
    assert world.lost == []


def test_nothing_is_lost_where_a_host_is_away_or_a_server_is_off(plan: Plan, connection: Connection) -> None:
    world = World(plan)

    def attempt(change: Callable[[Inventory], Inventory], message: str) -> None:
        with pytest.raises(NotReadyError, match=message):
            drill(
                connection,
                plan,
                (SECTION_A,),
                world,
                now=NOW,
                progress=Silent(),
                read=lambda: change(world.read()),
                ask=world.ask,
            )

    attempt(
        lambda seen: seen.model_copy(
            update={"hosts": tuple(host.model_copy(update={"connected": False}) for host in seen.hosts)}
        ),
        "not connected",
    )
    attempt(
        lambda seen: seen.model_copy(
            update={"machines": tuple(m.model_copy(update={"powered_on": False}) for m in seen.machines)}
        ),
        "not powered on",
    )
    attempt(lambda seen: seen.model_copy(update={"machines": ()}), "has no VM")
    assert world.lost == []


def test_a_real_data_centre_is_never_harmed(plan: Plan, connection: Connection) -> None:
    world = World(plan)
    real = connection.model_copy(update={"simulated": False})
    with pytest.raises(NotReadyError, match="not a lab"):
        world.drill(real)
    assert world.lost == []


def test_a_forecast_is_kept_beside_a_drill(
    plan: Plan, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = World(plan)
    monkeypatch.setattr(drill_module, "read_inventory", lambda *_: world.read())
    told = foretell(connection, plan, (SECTION_A,), now=NOW)
    assert told.forecast_only and not told.services
    save_result(told, tmp_path)
    save_result(world.drill(connection), tmp_path)
    save_result(world.drill(connection), tmp_path)
    (tmp_path / "drill-of-another-version.json").write_text("{}")
    assert [result.forecast_only for result in load_results(tmp_path)] == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("section-a", Loss(kind="section", name="A")),
        ("section-B", Loss(kind="section", name="B")),
        ("host:sn-esx-a01", Loss(kind="host", name="sn-esx-a01")),
        ("datastore:mirror", Loss(kind="datastore", name="mirror")),
        ("link:sn-esx-a01/uplink2", Loss(kind="link", name="sn-esx-a01", uplink="uplink2")),
    ],
)
def test_a_loss_is_read(plan: Plan, text: str, expected: Loss) -> None:
    assert parse_loss(text, plan, ["mirror"]) == expected


def test_several_losses_are_one_result_whatever_their_order(plan: Plan) -> None:
    texts = ["section-a", "datastore:mirror", "section-A"]
    assert parse_losses(texts, plan, ["mirror"]) == parse_losses(reversed(texts), plan, ["mirror"])
    assert named(parse_losses(texts, plan, ["mirror"])) == "datastore:mirror + section-a"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("section-c", "section-a, section-b"),
        ("host:sn-esx-a1", "did you mean host:sn-esx-a01"),
        ("datastore:miror", "did you mean datastore:mirror"),
        ("link:sn-esx-a01", "link:sn-esx-a01/uplink1"),
        ("everything", "allowed: section-a, host:NAME"),
        ("", "allowed"),
    ],
)
def test_an_unknown_loss_is_refused_with_what_there_is(plan: Plan, text: str, hint: str) -> None:
    with pytest.raises(UnknownLossError) as refused:
        parse_loss(text, plan, ["mirror"])
    assert hint in str(refused.value.hint)
