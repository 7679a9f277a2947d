"""Where a device belongs: site, department and profile, and why.

What the exports say comes first; where they are silent, the directory's folders, the device's
user, its name and at last its software are asked, in this order. Each answer names its reason,
so that a person can check it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.read import OldDevice, User, account
from ksm_onboard.takeover.software import Judged
from ksm_onboard.takeover.titles import folded

# An application on at least this share of all devices belongs to every workplace of the member.
BASELINE_SHARE: Final = 0.8
# An application on at least this share of a department's devices belongs to its profile.
PROFILE_SHARE: Final = 0.5
# What is on one device only says nothing about the others of its department.
_AT_LEAST: Final = 2

UNKNOWN_SITE: Final = "standort-offen"
UNKNOWN_DEPARTMENT: Final = "abteilung-offen"

# Folders of a directory that say what a machine is, not where it belongs.
_GENERIC_FOLDERS: Final = re.compile(
    r"(?:windows ?\d*|win\d+|(?:domain )?(?:computers?|computer|clients?|client-pcs?|pcs?|workstations?|desktops?|"
    r"notebooks?|laptops?|arbeitsplaetze|arbeitsplatzrechner|rechner|geraete|mobile|standard|verwaltung|hardware))"
)
_LAPTOP: Final = re.compile(
    r"\b(?:notebook|laptop|latitude|elitebook|probook|zbook|thinkpad|lifebook|travelmate|toughbook|surface|macbook|ultrabook)\b"
)
_LAPTOP_NAME: Final = re.compile(r"(?:^|[-_])(?:nb|lt|notebook|laptop)[-_]?\w*\d", re.IGNORECASE)

# Abbreviations that administrators put into host names.
_IN_NAMES: Final[Mapping[str, str]] = {
    "bau": "Bauamt", "bauamt": "Bauamt", "baua": "Bauamt", "bb": "Bürgerbüro", "bgb": "Bürgerbüro",
    "buero": "Bürgerbüro", "bue": "Bürgerbüro", "ewo": "Bürgerbüro", "ema": "Bürgerbüro", "meld": "Bürgerbüro",
    "buergerbuero": "Bürgerbüro", "kae": "Kämmerei", "kaem": "Kämmerei", "kaemmerei": "Kämmerei", "kasse": "Kämmerei",
    "fin": "Kämmerei", "finanzen": "Kämmerei", "steuer": "Kämmerei", "ha": "Hauptamt", "haupt": "Hauptamt",
    "hauptamt": "Hauptamt", "pers": "Hauptamt", "bgm": "Bürgermeister", "oa": "Ordnungsamt", "ord": "Ordnungsamt",
    "ordnung": "Ordnungsamt", "ordnungsamt": "Ordnungsamt", "sta": "Standesamt", "standesamt": "Standesamt",
    "soz": "Sozialamt", "jug": "Jugendamt", "bib": "Bibliothek", "bibo": "Bibliothek", "bibliothek": "Bibliothek",
    "mus": "Museum", "museum": "Museum", "fw": "Feuerwehr", "ffw": "Feuerwehr", "feuerwehr": "Feuerwehr",
    "bhf": "Bauhof", "bauhof": "Bauhof", "kita": "Kindertagesstätte", "arch": "Archiv", "archiv": "Archiv",
    "edv": "IT", "it": "IT", "admin": "IT",
}  # fmt: skip

# Whose daily work a domain of the catalogue is.
_BY_DOMAIN: Final[Mapping[str, str]] = {
    "archiv": "Archiv", "auslaender": "Ordnungsamt", "bau": "Bauamt", "bibliothek": "Bibliothek",
    "einwohnerwesen": "Bürgerbüro", "feuerwehr": "Feuerwehr", "finanzen": "Kämmerei", "friedhof": "Bauhof",
    "geo": "Bauamt", "gesundheit": "Gesundheitsamt", "gewerbe": "Ordnungsamt", "jugend": "Jugendamt",
    "kfz-zulassung": "Straßenverkehrsamt", "liegenschaften": "Liegenschaften", "ordnung": "Ordnungsamt",
    "personal": "Hauptamt", "personenstand": "Standesamt", "ratsinformation": "Hauptamt",
    "schule-verwaltung": "Schulverwaltung", "soziales": "Sozialamt", "steuern": "Kämmerei", "umwelt": "Umweltamt",
    "vergabe": "Bauamt", "veterinaer": "Veterinäramt", "vhs": "Volkshochschule", "wahlen": "Hauptamt",
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """A site or department: its key in a declaration, its name, and why a device belongs there.

    ``told_by`` is the kind of evidence, for counting; ``why`` the evidence itself.
    """

    key: str
    name: str
    told_by: str
    why: str


@dataclass(frozen=True)
class Placed:
    """A device and where it belongs; ``profile`` is its key.

    ``group`` is what its applications are counted with: its profile if the export names one, else
    its department.
    """

    device: OldDevice
    site: Group
    department: Group
    group: str
    profile: str
    profile_why: str
    laptop: bool


@dataclass(frozen=True)
class Sets:
    """Which applications belong to every workplace, and which to a group's. Keys of the catalogue."""

    baseline: tuple[str, ...]
    by_group: Mapping[str, tuple[str, ...]]
    by_device: Mapping[str, frozenset[str]]

    def single(self, placed: Placed) -> list[str]:
        """Applications of one device that no profile brings."""
        brought = {*self.baseline, *self.by_group.get(placed.group, ())}
        return sorted(self.by_device.get(placed.device.hostname, frozenset()) - brought)


@dataclass(frozen=True)
class _Evidence:
    """What a department can be told from where no column names it."""

    by_device: Mapping[str, frozenset[str]]
    rare: frozenset[str]
    catalogue: Mapping[str, CatalogueEntry]
    member_name: str


def slug(text: str, longest: int = 40) -> str:
    """A key of a declaration from a name: ``Bürgerbüro & Kasse`` becomes ``buergerbuero-kasse``."""
    return re.sub(r"[^a-z0-9]+", "-", folded(text)).strip("-")[:longest].rstrip("-")


def place_devices(
    devices: Sequence[OldDevice],
    users: Iterable[User],
    judged: Iterable[Judged],
    catalogue: Mapping[str, CatalogueEntry],
    member_name: str,
) -> tuple[list[Placed], Sets]:
    """Every device's site, department and profile, and the application sets that follow."""
    known_users = {user.login: user for user in users}
    by_device = _applications_by_device(judged)
    evidence = _Evidence(by_device, _rare(by_device, len(devices)), catalogue, member_name)
    departments = {d.hostname: _department(d, known_users.get(account(d.user)), evidence) for d in devices}
    groups = {d.hostname: slug(d.profile) or departments[d.hostname].key for d in devices}
    sets = _sets(groups, by_device)
    placed = []
    for device in devices:
        department = departments[device.hostname]
        laptop = _is_laptop(device)
        group = groups[device.hostname]
        profile, why = _profile(device, department, laptop, bool(sets.by_group.get(group)))
        site = _site(device, known_users.get(account(device.user)))
        placed.append(Placed(device, site, department, group, profile, why, laptop))
    return _one_name_each(placed), sets


def _applications_by_device(judged: Iterable[Judged]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        if one.match.verdict == "matched" and one.match.key is not None:
            for hostname in one.found.devices:
                found[hostname].add(one.match.key)
    return {hostname: frozenset(keys) for hostname, keys in found.items()}


def _rare(by_device: Mapping[str, frozenset[str]], devices: int) -> frozenset[str]:
    """Applications on less than half of the devices: only they tell departments apart."""
    count = Counter(key for keys in by_device.values() for key in keys)
    return frozenset(key for key, number in count.items() if number < devices / 2)


# --- site and department ------------------------------------------------------------------


def _site(device: OldDevice, user: User | None) -> Group:
    if device.site:
        return _group(device.site, "column", "column site", UNKNOWN_SITE)
    if building := building_of(device.location):
        return _group(building, "location", f"location '{device.location}'", UNKNOWN_SITE)
    if user is not None and user.site:
        return _group(building_of(user.site) or user.site, "user", "its user's site", UNKNOWN_SITE)
    return Group(UNKNOWN_SITE, "Standort offen", "nothing", "the exports name no site")


def building_of(location: str) -> str:
    """The building in ``Rathaus, Zimmer 12`` or ``Rathaus EG``; empty where there is only a room."""
    building = re.split(r"[,;/|]|\b(?:Zimmer|Zi\.|Raum|EG|UG|DG|\d\.? ?OG|OG|Etage)\b", location, maxsplit=1)[0].strip(
        " -"
    )
    return "" if re.fullmatch(r"[\W\d]*|[A-Z]{0,2}[ .-]?\d[\d.]*[a-z]?", building) else building


def _department(device: OldDevice, user: User | None, evidence: _Evidence) -> Group:
    if device.department:
        return _group(device.department, "column", "column department", UNKNOWN_DEPARTMENT)
    for folder in _folders(device.ou, device.hostname):
        if not _GENERIC_FOLDERS.fullmatch(folded(folder)) and folded(folder) not in folded(evidence.member_name):
            return _group(_spelt_out(folder), "directory", f"directory folder '{folder}'", UNKNOWN_DEPARTMENT)
    if user is not None and user.department:
        return _group(user.department, "user", "its user's department", UNKNOWN_DEPARTMENT)
    for word in re.findall(r"[a-z]+", folded(device.hostname)):
        for part in (word, re.sub(r"^(?:pc|nb|ws|ap|cl|lt)", "", word)):
            if part in _IN_NAMES:
                return _group(_IN_NAMES[part], "name", f"'{part}' in the name {device.hostname}", UNKNOWN_DEPARTMENT)
    return _by_software(evidence.by_device.get(device.hostname, frozenset()) & evidence.rare, evidence.catalogue)


def _by_software(keys: frozenset[str], catalogue: Mapping[str, CatalogueEntry]) -> Group:
    """The department whose specialist applications are the most here; none if two have equally many."""
    telling: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        if name := _BY_DOMAIN.get(catalogue[key].domain):
            telling[name].append(key)
    ranked = sorted(telling.items(), key=lambda item: (-len(item[1]), item[0]))
    if ranked and (len(ranked) == 1 or len(ranked[0][1]) > len(ranked[1][1])):
        name, because = ranked[0]
        return _group(name, "software", f"its software: {', '.join(because)}", UNKNOWN_DEPARTMENT)
    return Group(
        UNKNOWN_DEPARTMENT, "Abteilung offen", "nothing", "neither columns, directory, user, name nor software tell"
    )


def _folders(path: str, hostname: str) -> list[str]:
    """The folders of a directory path, nearest first: ``CN=…,OU=…,DC=…`` or ``domain/folder/folder/name``."""
    if "=" in path:
        return [part.strip() for part in re.findall(r"OU=((?:[^,\\]|\\.)*)", path, re.IGNORECASE)]
    parts = [part.strip() for part in path.split("/") if part.strip()]
    return [part for part in reversed(parts) if "." not in part and part.casefold() != hostname]


def _spelt_out(folder: str) -> str:
    return _IN_NAMES.get(folded(folder), folder)


def _group(name: str, told_by: str, why: str, otherwise: str) -> Group:
    name = " ".join(name.split())
    return Group(slug(name) or otherwise, name, told_by, why)


def _one_name_each(placed: Sequence[Placed]) -> list[Placed]:
    """Groups with one key get the name that most of them have: Kämmerei and KAEMMEREI are one department."""
    names: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in placed:
        names["site", one.site.key][one.site.name] += 1
        names["department", one.department.key][one.department.name] += 1
    return [
        replace(
            one,
            site=replace(one.site, name=names["site", one.site.key].most_common(1)[0][0]),
            department=replace(one.department, name=names["department", one.department.key].most_common(1)[0][0]),
        )
        for one in placed
    ]


# --- profiles -----------------------------------------------------------------------------


def _sets(groups: Mapping[str, str], by_device: Mapping[str, frozenset[str]]) -> Sets:
    with_software = [hostname for hostname in groups if hostname in by_device]
    baseline = _on_share(with_software, by_device, BASELINE_SHARE)
    members: dict[str, list[str]] = defaultdict(list)
    for hostname in with_software:
        members[groups[hostname]].append(hostname)
    by_group = {
        group: tuple(sorted(_on_share(hostnames, by_device, PROFILE_SHARE) - baseline))
        for group, hostnames in sorted(members.items())
    }
    return Sets(tuple(sorted(baseline)), by_group, by_device)


def _on_share(hostnames: Sequence[str], by_device: Mapping[str, frozenset[str]], share: float) -> frozenset[str]:
    count = Counter(key for hostname in hostnames for key in by_device[hostname])
    return frozenset(key for key, number in count.items() if number >= max(_AT_LEAST, share * len(hostnames)))


def mobile_profile(group: str) -> str:
    """The profile of a group's laptops where the group has applications of its own."""
    return f"{group[:34]}-mobil"


def _profile(device: OldDevice, department: Group, laptop: bool, has_own: bool) -> tuple[str, str]:
    if device.profile and slug(device.profile):
        return slug(device.profile), "column profile"
    if laptop:
        return mobile_profile(department.key) if has_own else "mobil", "a laptop, by its model or name"
    if has_own:
        return department.key, f"software of most devices of {department.name}"
    return "standard", "no software beyond the baseline on most devices of its department"


def _is_laptop(device: OldDevice) -> bool:
    return bool(_LAPTOP.search(folded(device.model)) or _LAPTOP_NAME.search(device.hostname))
