"""The zones a member can have: VLAN offset and title.

The table is the platform's design assumption for zones and their VLAN offsets; a zone is
given the member's VLAN base plus the offset, where that is free.
"""

from __future__ import annotations

from dataclasses import dataclass

from ksm_onboard.declaration.models import MemberDeclaration, ZoneKey


@dataclass(frozen=True)
class ZoneKind:
    """What a zone is for. ``title`` is German: it appears in the hand-over protocol."""

    vlan_offset: int
    title: str


ZONE_KINDS: dict[ZoneKey, ZoneKind] = {
    "clients": ZoneKind(10, "Arbeitsplätze"),
    "laptops": ZoneKind(11, "Mobile Geräte"),
    "application": ZoneKind(20, "Anwendungsserver"),
    "database": ZoneKind(21, "Datenbankserver"),
    "infrastructure": ZoneKind(22, "Verzeichnis, DNS, Dateien"),
    "printers": ZoneKind(30, "Drucker und Scanner"),
    "voip": ZoneKind(40, "Telefonie"),
    "building": ZoneKind(50, "Gebäudetechnik"),
    "dmz": ZoneKind(60, "DMZ"),
    "guest": ZoneKind(70, "Gäste-WLAN"),
    "management": ZoneKind(80, "Management"),
    "backup": ZoneKind(81, "Datensicherung"),
    "admin": ZoneKind(90, "Administration"),
    "school-administration": ZoneKind(100, "Schulverwaltung"),
    "school-pedagogic": ZoneKind(110, "Schule, pädagogisch"),
    "school-tablets": ZoneKind(120, "Schule, Tablets"),
    "school-byod": ZoneKind(130, "Schule, eigene Geräte"),
    "quarantine": ZoneKind(200, "Quarantäne, Übernahme"),
    "ot-handover": ZoneKind(900, "Übergabe Leittechnik"),
}


LESSONS: frozenset[ZoneKey] = frozenset(("school-pedagogic", "school-tablets", "school-byod"))
"""Where pupils and teachers work."""

ADMINISTRATIONS: frozenset[ZoneKey] = frozenset(("school-administration", "clients", "laptops"))
"""Where a school's office or any other administration works."""


def routing_domain_of(zone: ZoneKey, declared: MemberDeclaration) -> str:
    """The routing domain that ``zone`` is in: as stated, else by its kind.

    In a school everything that is not for lessons belongs to its administration.
    """
    stated = declared.zones[zone].routing_domain if zone in declared.zones else None
    if stated is not None:
        return stated
    if zone in LESSONS:
        return "school-pedagogic"
    if zone == "ot-handover":
        return "ot"
    return "school-administration" if "school-administration" in declared.zones else "office"
