"""The schemas for editors and the models agree: on what is committed, and on what is broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, ValidationError

from ksm_onboard.connection import Connection
from ksm_onboard.declaration.catalogue import CatalogueFile
from ksm_onboard.declaration.effective import ARCHETYPES, Archetypes, load_member
from ksm_onboard.declaration.load import Loaded, load_file
from ksm_onboard.declaration.models import PlatformDeclaration
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.declaration.schema import DIALECT, SchemaName, outdated, rendered, schema_file, schemas
from ksm_onboard.declaration.source import read_yaml

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = schemas()
Loc = tuple[str | int, ...]


@cache
def validator(name: SchemaName) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name], format_checker=FormatChecker())


def committed() -> Iterator[tuple[SchemaName, Path]]:
    """Every file that people write or review, and the schema that it must fit."""
    for file in sorted((ROOT / "stacks").glob("*.yaml")):
        if not file.name.startswith("Pulumi."):
            yield "platform" if file.stem == "schwerin" else "member", file
    for file in sorted((ROOT / "stacks/allocations").glob("*.yaml")):
        yield "allocation", file
    for file in sorted((ROOT / "catalogue").glob("*.yaml")):
        yield "catalogue", file
    for file in sorted(ARCHETYPES.glob("*.yaml")):
        yield "profiles" if file.stem == "profiles" else "archetype", file


COMMITTED = list(committed())


def refused(name: SchemaName, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(data)]


def test_committed_schemas_are_those_of_the_models() -> None:
    assert outdated(ROOT) == []


def test_a_changed_missing_or_left_over_schema_is_outdated(tmp_path: Path) -> None:
    for name, schema in SCHEMAS.items():
        schema_file(tmp_path, name).parent.mkdir(parents=True, exist_ok=True)
        schema_file(tmp_path, name).write_text(rendered(schema), encoding="utf-8")
    assert outdated(tmp_path) == []
    changed, missing = schema_file(tmp_path, "member"), schema_file(tmp_path, "profiles")
    left_over = changed.with_name("town.json")
    changed.write_text(changed.read_text(encoding="utf-8").replace("short", "shorty", 1), encoding="utf-8")
    missing.unlink()
    left_over.write_text("{}", encoding="utf-8")
    assert outdated(tmp_path) == [changed, missing, left_over]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name: SchemaName) -> None:
    assert SCHEMAS[name]["$schema"] == DIALECT
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "file"), [pytest.param(n, f, id=f"{n}-{f.stem}") for n, f in COMMITTED])
def test_every_committed_file_fits_its_schema(name: SchemaName, file: Path) -> None:
    located, findings = read_yaml(file)
    assert not findings
    assert refused(name, located.data) == []


@pytest.mark.parametrize(("name", "file"), [pytest.param(n, f, id=f"{n}-{f.stem}") for n, f in COMMITTED])
def test_every_committed_file_names_its_schema_to_editors(name: SchemaName, file: Path) -> None:
    prefix, _, reference = file.read_text(encoding="utf-8").partition("\n")[0].partition("$schema=")
    assert prefix == "# yaml-language-server: "
    assert (file.parent / reference).resolve() == schema_file(ROOT, name)


# --- what helps while typing --------------------------------------------------------------


def objects(node: Any, loc: Loc = ()) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """Every schema of an object below ``node``."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield loc, node
        for key, value in node.items():
            yield from objects(value, (*loc, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from objects(value, (*loc, index))


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_key_is_without_a_description_and_no_object_takes_any_key(name: SchemaName) -> None:
    schema = SCHEMAS[name]

    def described(node: dict[str, Any]) -> bool:
        if "$ref" in node and "description" not in node:
            return described(schema["$defs"][node["$ref"].rpartition("/")[2]])
        return bool(node.get("description")) or any(described(option) for option in node.get("anyOf", ()))

    assert schema["description"]
    found = list(objects(schema))
    assert found
    for loc, node in found:
        assert [key for key, value in node.get("properties", {}).items() if not described(value)] == [], loc
        assert "additionalProperties" in node, loc
        assert node["additionalProperties"] is not True, loc


# --- what the models refuse, the schemas refuse -------------------------------------------

# Every key that a declaration can have, at least once.
WHOLE: dict[str, Any] = yaml.safe_load("""
member: {key: grabow, name: Stadt Grabow, kind: stadt, short: gra, dns_domain: grabow.internal, responsible: Amt}
protection: {confidentiality: high, integrity: normal, availability: very-high}
sites: {rathaus: {name: Rathaus, address: "Am Markt 1"}}
departments: {bauamt: {name: Bauamt}}
networks:
  pool: small
  block: 10.64.0.0/20
  vlan_base: 1200
  legacy: {alt: {cidr: 192.168.1.0/24, nat: 10.96.1.0/24, quarantine: true}}
zones:
  clients: {prefix: 23, routing_domain: amt}
  quarantine: {cidr: 10.64.14.0/24, vlan: 1400}
flows: {web: {sources: [clients, "role:file"], targets: ["member:zoo/clients"], services: [https], reason: Auskunft}}
compute: {cpu_ghz: 60, memory_gib: 96}
storage: {growth_percent: 30}
servers:
  web:
    role: application
    zone: application
    count: 2
    pair: web
    template: debian-12
    cpus: 2
    memory_gib: 4
    tier: silver-mirrored
    service_level: 3
    disks: {data: {size_gib: 10, tier: gold-mirrored, mount: /srv/web, backup: none, backup_reason: Probe}}
    applications: [nginx]
  file01: {address: 10.64.12.99, section: A}
shares: {verwaltung: {server: file01, path: /srv/data/verwaltung, groups: [verwaltung], comment: Ablage}}
printers: {flur: {server: print01, site: rathaus, address: 10.64.13.99, model: Kyocera}}
databases: {fachdaten: {pair: database, owner: fach}}
switches: {rathaus: {site: rathaus, address: 10.64.15.31}}
published: {portal.grabow.internal: {server: web01, port: 8080, health: /status}}
applications: [7zip]
applications_on: {linux: [sssd], windows: [thunderbird], tablet: []}
extra_applications: [keepassxc]
without_applications: [ghostscript]
web_addresses: {onleihe: "https://onleihe.example/grabow"}
profiles:
  kasse:
    zone: clients
    applications: [7zip]
    applications_on: {linux: [], windows: [archikart]}
    extra_applications: [gdal-tools]
    without_applications: []
waves:
  pilot:
    title: Pilot
    first_day: "2027-02-01"
    last_day: "2027-02-05"
    after: []
    max_failed_percent: 10
    blocking_applications: [7zip]
    window: {begins: "18:00", ends: "06:00"}
freezes: {wahl: {first_day: "2027-09-01", last_day: "2027-09-30", reason: Wahl}}
waivers:
  umbau:
    rule: network-closed
    resource: gra-*
    reason: Bis zum Umbau im Mai
    owner: Leitung IT
    granted: "2027-01-04"
    expires: "2027-05-31"
devices:
  - {hostname: gra-ws1, serial: AB12, mac: "02:00:00:00:00:01", site: rathaus, department: bauamt, profile: kasse,
     platform: linux, wave: pilot, replaces: PC-1}
workstations: {amt: {department: bauamt, site: rathaus, profile: kasse, count: 3, platform: windows, wave: pilot}}
""")
CONNECTION: dict[str, Any] = yaml.safe_load("""
name: lab
simulated: true
vcenter: {server: "127.0.0.1:8989", user: svc, password_file: vcenter-password, ca_file: tls/ca.pem}
guests: {user: ops, private_key_file: ssh/ops, port: 22, loopback_shift: 0}
trust: {root_ca_file: tls/ca.pem}
packages: {apt_proxy: "http://127.0.0.1:3142"}
""")
WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    99_999_999,
    1.5,
    "",
    "0",
    "yes",
    "X Y!",
    " x",
    "10.64.0.300",
    "010.64.0.1",
    "10.64.0.0/40",
    "10.64.0.0/255.255.240.0",
    "2027-13-01",
    "2027-02-30",
    "2027-02-01T00:00:00",
    [],
    {},
    [[]],
    {"x y": 1},
    {"*": {}},
    {" x": None},
)


def paths(data: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Every place in ``data``."""
    if loc:
        yield loc
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from paths(value, (*loc, key))


def at(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data[part]
    return data


def changed(data: Any, loc: Loc, value: Any) -> Any:
    result = copy.deepcopy(data)
    at(result, loc[:-1])[loc[-1]] = value
    return result


def broken(data: Any) -> Iterator[tuple[Loc, Any]]:
    """Every place with every wrong value, every table and model with an unknown key and without each of its own.

    Sections that are not broken are left out, except those that no other layer states.
    """
    for loc in paths(data):
        part = {key: value for key, value in data.items() if key in ("member", "sites", loc[0])}
        for value in WRONG:
            yield loc, changed(part, loc, value)
        if isinstance(at(part, loc), dict):
            for key in ("No Such Key", "*"):
                yield loc, changed(part, (*loc, key), {})
        without = copy.deepcopy(part)
        del at(without, loc[:-1])[loc[-1]]
        yield loc, without


# What the rules of merging decide, or a layer cannot know: whether others state what this one does not.
_NOT_OF_ONE_FILE = frozenset(("missing-key", "too-few", "removes-nothing", "devices-twice"))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Loaded[PlatformDeclaration]:
    return load_file(ROOT / "stacks/schwerin.yaml", PlatformDeclaration)


def of_member(
    folder: Path, data: Any, platform: Loaded[PlatformDeclaration], archetypes: Archetypes
) -> list[tuple[str, str]]:
    """What is wrong with the form of a declaration, by the checks: rule and message."""
    (folder / "grabow.yaml").write_text(json.dumps(data), encoding="utf-8")
    return [(f.rule, f.message) for f in load_member(folder, "grabow", platform, archetypes).findings]


def test_the_whole_declaration_has_every_key_and_is_accepted_by_both(
    tmp_path: Path, platform: Loaded[PlatformDeclaration]
) -> None:
    found = {key for _, node in objects(SCHEMAS["member"]) for key in node.get("properties", {})}
    zones = set(SCHEMAS["member"]["properties"]["zones"]["properties"])
    assert found - zones <= {str(part) for loc in paths(WHOLE) for part in loc}
    assert refused("member", WHOLE) == []
    assert of_member(tmp_path, WHOLE, platform, Archetypes()) == []


def test_checks_and_schema_refuse_the_same_declarations(tmp_path: Path, platform: Loaded[PlatformDeclaration]) -> None:
    archetypes = Archetypes()
    disagreements = []
    both = 0
    for loc, data in broken(WHOLE):
        told = of_member(tmp_path, data, platform, archetypes)
        by_checks = any(rule not in _NOT_OF_ONE_FILE for rule, _ in told)
        by_schema = not validator("member").is_valid(data)
        both += by_checks and by_schema
        # What only the rules of merging can refuse, the schema cannot; all else that it refuses, the checks do, too.
        if (by_checks and not by_schema) or (by_schema and not told):
            disagreements.append((loc, data[loc[0]], told))
    assert disagreements == []
    assert both > 2500


def model_refuses(model: type[BaseModel], data: Any) -> bool:
    try:
        model.model_validate(data)
    except ValidationError:
        return True
    return False


WHOLE_FILES: list[tuple[SchemaName, type[BaseModel], Any]] = [
    ("catalogue", CatalogueFile, read_yaml(ROOT / "catalogue/vpn.yaml")[0].data),
    ("allocation", AllocationRecord, read_yaml(ROOT / "stacks/allocations/grabow.yaml")[0].data),
    ("connection", Connection, CONNECTION),
    ("platform", PlatformDeclaration, read_yaml(ROOT / "stacks/schwerin.yaml")[0].data),
]


@pytest.mark.parametrize(("name", "model", "data"), [pytest.param(*case, id=case[0]) for case in WHOLE_FILES])
@settings(max_examples=250, deadline=None, derandomize=True)
@given(choice=st.data())
def test_model_and_schema_of_a_file_refuse_the_same(
    name: SchemaName, model: type[BaseModel], data: Any, choice: st.DataObject
) -> None:
    loc = choice.draw(st.sampled_from(list(paths(data))))
    how = choice.draw(st.sampled_from(("wrong value", "wrong value", "unknown key", "left out")))
    if how == "wrong value":
        wrong = changed(data, loc, choice.draw(st.sampled_from(WRONG)))
    elif how == "unknown key" and isinstance(at(data, loc), dict):
        wrong = changed(data, (*loc, "No Such Key"), {})
    else:
        wrong = copy.deepcopy(data)
        del at(wrong, loc[:-1])[loc[-1]]
    by_model, by_schema = model_refuses(model, wrong), not validator(name).is_valid(wrong)
    assert by_schema or not by_model
    # The platform's defaults are a layer of members' declarations, which the members' model judges.
    assert by_model or not by_schema or (name, loc[0]) == ("platform", "defaults")


@pytest.mark.parametrize(("name", "model", "data"), [pytest.param(*case, id=case[0]) for case in WHOLE_FILES])
def test_model_and_schema_of_a_file_accept_it(name: SchemaName, model: type[BaseModel], data: Any) -> None:
    assert refused(name, data) == []
    assert not model_refuses(model, data)


# --- layers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("archetype", {"servers": {"*": {"tier": "gold"}, "dns": {"count": 2}}}),
        ("archetype", {"zones": {"*": {"prefix": 24}, "voip": None}}),
        ("archetype", {"sites": {}}),
        ("profiles", {"profiles": {"standard": {}, "kasse": {"zone": "clients"}}}),
    ],
)
def test_layers_may_leave_open_remove_and_fill(name: SchemaName, data: Any) -> None:
    assert refused(name, data) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("archetype", {"servers": {"*": {"teir": "gold"}}}),
        ("archetype", {"servers": {"**": {"tier": "gold"}}}),
        ("archetype", {"servers": {"dns": {"cpus": None}}}),
        ("archetype", {"zones": {"clientes": {"prefix": 24}}}),
        ("archetype", {"networks": {"legacy": {"*": {"quarantine": True}}}}),
        ("archetype", {"devices": [{"hostname": "gra-ws1"}]}),
        ("profiles", {"profiles": {}, "zones": {}}),
        ("member", {"sites": {}}),
        ("member", {"member": {"key": "grabow", "kind": "stadt"}}),
    ],
)
def test_what_no_layer_may_say_is_refused(name: SchemaName, data: Any) -> None:
    assert refused(name, data)


def test_defaults_of_the_platform_are_a_layer_too() -> None:
    platform = read_yaml(ROOT / "stacks/schwerin.yaml")[0].data
    assert refused("platform", changed(platform, ("defaults", "servers", "*", "teir"), "gold-mirrored"))
    assert refused("platform", changed(platform, ("defaults", "servers", "*", "tier"), "local-a")) == []
