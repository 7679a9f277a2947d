from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Place
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.grouping import Placed, Sets, place_devices, slug
from ksm_onboard.takeover.matching import Match
from ksm_onboard.takeover.read import OldDevice, User
from ksm_onboard.takeover.software import Found, Judged
from ksm_onboard.takeover.titles import Title

HERE = Place(Path("x.csv"), 1, 1)


def device(hostname: str, **known: str) -> OldDevice:
    return OldDevice(HERE, hostname, **known)


def installed(key: str, *hostnames: str) -> Judged:
    return Judged(Found(Title(key), frozenset(hostnames), (), HERE), Match("matched", "exact", key))


def placed(
    catalogue: Mapping[str, CatalogueEntry],
    *devices: OldDevice,
    software: tuple[Judged, ...] = (),
    user: User | None = None,
) -> tuple[list[Placed], Sets]:
    return place_devices(devices, [user] if user else [], software, catalogue, "Stadt Grabow")


@pytest.mark.parametrize(
    ("known", "key", "why"),
    [
        ({"department": "Kämmerei", "ou": "OU=Bauamt,DC=x"}, "kaemmerei", "column department"),
        ({"ou": "CN=PC7,OU=Kämmerei,OU=Computer,DC=grabow"}, "kaemmerei", "directory folder 'Kämmerei'"),
        ({"ou": "CN=PC7,OU=Notebooks,OU=BAU,OU=Grabow,DC=x"}, "bauamt", "directory folder 'BAU'"),
        ({"ou": "grabow.local/Grabow/Ordnungsamt/Computers/HOST7"}, "ordnungsamt", "directory folder 'Ordnungsamt'"),
        ({"user": "GRABOW\\Mueller", "ou": "OU=Computers,DC=x"}, "hauptamt", "its user's department"),
        ({}, "abteilung-offen", "neither columns, directory, user, name nor software tell"),
    ],
)
def test_departments_and_why(
    catalogue: Mapping[str, CatalogueEntry], known: dict[str, str], key: str, why: str
) -> None:
    user = User(HERE, "mueller", department="Hauptamt")
    ((one,), _) = placed(catalogue, device("host7", **known), user=user)
    assert one.department.key == key
    assert one.department.why.startswith(why) or one.department.why == why


def test_a_department_from_the_name(catalogue: Mapping[str, CatalogueEntry]) -> None:
    ((one,), _) = placed(catalogue, device("gra-kae-03"))
    assert (one.department.name, one.department.why) == ("Kämmerei", "'kae' in the name gra-kae-03")


def test_a_department_from_software_that_others_do_not_have(catalogue: Mapping[str, CatalogueEntry]) -> None:
    devices = [device(f"host{number}") for number in range(6)]
    everywhere = installed("qgis", *(d.hostname for d in devices))  # tells nothing, although its domain is geo
    found, _ = placed(catalogue, *devices, software=(everywhere, installed("hh-prodoppik", "host1")))
    assert found[1].department.name == "Kämmerei"
    assert found[1].department.why == "its software: hh-prodoppik"
    assert found[2].department.key == "abteilung-offen"


def test_software_of_two_departments_decides_nothing(catalogue: Mapping[str, CatalogueEntry]) -> None:
    devices = [device(f"host{number}") for number in range(6)]
    software = (installed("hh-prodoppik", "host1"), installed("autista", "host1"))
    found, _ = placed(catalogue, *devices, software=software)
    assert found[1].department.key == "abteilung-offen"


@pytest.mark.parametrize(
    ("known", "key"),
    [
        ({"site": "Rathaus", "location": "Bauhof, Zimmer 1"}, "rathaus"),
        ({"location": "Rathaus, Zimmer 12"}, "rathaus"),
        ({"location": "Altes Rathaus EG"}, "altes-rathaus"),
        ({"location": "Zimmer 12"}, "standort-offen"),
        ({"location": "R 2.13"}, "standort-offen"),
        ({}, "standort-offen"),
    ],
)
def test_sites(catalogue: Mapping[str, CatalogueEntry], known: dict[str, str], key: str) -> None:
    ((one,), _) = placed(catalogue, device("host1", **known))
    assert one.site.key == key


def test_spellings_of_one_department_are_one(catalogue: Mapping[str, CatalogueEntry]) -> None:
    names = ("Kämmerei", "KAEMMEREI", "Kämmerei")
    found, _ = placed(catalogue, *(device(f"h{i}", department=name) for i, name in enumerate(names)))
    assert {(one.department.key, one.department.name) for one in found} == {("kaemmerei", "Kämmerei")}


def test_baseline_profiles_and_single_applications(catalogue: Mapping[str, CatalogueEntry]) -> None:
    devices = [device(f"b{i}", department="Bauamt") for i in range(4)]
    devices += [device(f"k{i}", department="Kämmerei") for i in range(4)]
    everywhere = installed("7zip", "b0", "b1", "b2", "b3", "k0", "k1", "k2")  # seven of eight
    software = (
        everywhere,
        installed("qgis", "b0", "b1"),
        installed("gimp", "b3"),
        installed("sfirm", "k0", "k1", "k3"),
    )
    found, sets = placed(catalogue, *devices, software=software)
    assert sets.baseline == ("7zip",)
    assert sets.by_group == {"bauamt": ("qgis",), "kaemmerei": ("sfirm",)}
    assert sets.single(found[3]) == ["gimp"]
    assert [one.profile for one in found] == ["bauamt"] * 4 + ["kaemmerei"] * 4


def test_what_only_one_device_has_makes_no_profile(catalogue: Mapping[str, CatalogueEntry]) -> None:
    found, sets = placed(
        catalogue,
        device("a", department="Museum"),
        device("b", department="Bauhof"),
        software=(installed("gimp", "a"),),
    )
    assert sets.by_group["museum"] == ()
    assert found[0].profile == "standard"


def test_laptops(catalogue: Mapping[str, CatalogueEntry]) -> None:
    software = (installed("qgis", "nb-1", "pc-2"),)
    devices = [
        device(name, department="Bauamt", model=model)
        for name, model in (("nb-1", ""), ("pc-2", "Dell Latitude 5520"), ("pc-3", ""))
    ]
    devices.append(device("pc-4", model="LENOVO ThinkPad T480", department="Bauhof"))
    devices += [device(f"x{i}", department="Hauptamt") for i in range(4)]
    found, _ = placed(catalogue, *devices, software=(*software, *(installed("7zip", f"x{i}") for i in range(4))))
    assert [one.profile for one in found[:4]] == ["bauamt-mobil", "bauamt-mobil", "bauamt", "mobil"]


def test_a_profile_in_the_export_counts(catalogue: Mapping[str, CatalogueEntry]) -> None:
    devices = [device(f"h{i}", department="Bauamt", profile="Planer" if i < 2 else "") for i in range(4)]
    found, sets = placed(catalogue, *devices, software=(installed("qgis", "h0", "h1"), installed("7zip", "h2", "h3")))
    assert [one.profile for one in found] == ["planer", "planer", "bauamt", "bauamt"]
    assert sets.by_group["planer"] == ("qgis",)


def test_slug() -> None:
    assert slug("Bürgerbüro & Kasse (EG)") == "buergerbuero-kasse-eg"
    assert len(slug("x" * 39 + " und mehr")) <= 40
