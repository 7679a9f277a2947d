"""The audit's keys in the words of the protocol. German, because a mayor signs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as calendar_day
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from ksm_onboard.declaration.models import AnyRole, DevicePlatform, Location, MemberKind
from ksm_onboard.planning.workplace_status import WorkplaceStatus
from ksm_onboard.verifying.audit_report import Area, Reason

AREAS: Mapping[Area, str] = {
    Area.MEMBER: "Ordner und Ressourcen",
    Area.NETWORKS: "Netze",
    Area.SERVERS: "Server",
    Area.STORAGE: "Speicher",
    Area.REDUNDANCY: "Redundanz",
    Area.PERMISSIONS: "Berechtigungen",
    Area.MACHINES: "Grundeinrichtung der Geräte",
    Area.APPLICATIONS: "Anwendungen",
    Area.SHARES: "Netzlaufwerke",
    Area.PRINTING: "Druckdienste",
    Area.DATABASES: "Datenbanken",
    Area.PUBLISHING: "Veröffentlichte Webanwendungen",
    Area.NAMES: "Namensauflösung",
    Area.BACKUP: "Datensicherung",
}

REASONS: Mapping[Reason, str] = {
    Reason.NOT_STARTED: "im Labor nicht gestartet",
    Reason.VM_MISSING: "die virtuelle Maschine fehlt",
    Reason.SILENT: "das Gerät antwortet nicht",
    Reason.PAIR_INCOMPLETE: "ein Server des Paares fehlt",
    Reason.NOT_IN_LAB: "auf den Geräten des Labors nicht ausführbar",
    Reason.NOT_ON_WINDOWS: "auf Windows nicht abgefragt",
    Reason.NOT_REACHABLE: "keine Freigabe für die Überwachung",
    Reason.NOT_LINUX: "geplant, noch nicht eingerichtet: bisher werden nur Linux-Geräte eingerichtet",
}

KINDS: Mapping[Literal["missing", "different", "extra"], str] = {
    "missing": "fehlt",
    "different": "weicht ab",
    "extra": "nicht deklariert",
}

MEMBER_KINDS: Mapping[MemberKind | Literal["rechenzentrum"], str] = {
    "landkreis": "Landkreis",
    "landeshauptstadt": "Landeshauptstadt",
    "stadt": "Stadt",
    "amt": "Amt",
    "stadtwerke": "Stadtwerke",
    "wohnungsgesellschaft": "Wohnungsgesellschaft",
    "zoo": "Zoo",
    "schule": "Schule",
    "rechenzentrum": "Rechenzentrum",
}

PLATFORMS: Mapping[DevicePlatform, str] = {"linux": "Linux", "windows": "Windows", "tablet": "Tablet"}

ROLES: Mapping[AnyRole, str] = {
    "dns": "Namensdienst (DNS)",
    "file": "Dateiserver",
    "print": "Druckserver",
    "database": "Datenbank (PostgreSQL)",
    "application": "Anwendungsserver",
    "resolver": "Namensdienst (zentral)",
    "time": "Zeitdienst (zentral)",
    "directory": "Verzeichnis (zentral)",
    "depot": "Softwareverteilung (zentral)",
    "log-collector": "Protokollsammlung (zentral)",
    "monitoring": "Überwachung (zentral)",
    "reverse-proxy": "Reverse Proxy (zentral)",
    "radius": "Netzzugang (802.1X, zentral)",
}

LOCATIONS: Mapping[Location, str] = {
    "A": "Brandabschnitt A",
    "B": "Brandabschnitt B",
    "outside": "außerhalb beider Brandabschnitte",
}

_PERIODS = {"hourly": "stündlich", "daily": "täglich", "weekly": "wöchentlich", "monthly": "monatlich"}

ATTRIBUTES: Mapping[str, str] = {
    "accepting": "nimmt Aufträge an",
    "active_uplinks": "aktive Uplinks",
    "administrator": "Konto mit Verwaltungsrechten",
    "answers": "antwortet auf Anfragen",
    "anti_affinity_rule": "Trennungsregel",
    "automation": "Eingriffe der Speicherverteilung",
    "automation_overrides": "Ausnahmen vom Automatisierungsgrad",
    "avoided_host_group": "gemiedene Hostgruppe",
    "bookmark": "Lesezeichen im Browser",
    "comment": "Beschreibung",
    "cpu_limit_mhz": "Obergrenze Rechenleistung (MHz)",
    "cpus": "Prozessoren (vCPU)",
    "customised_address": "mitgegebene Adresse",
    "customised_name": "mitgegebener Name",
    "database": "Datenbank",
    "database_server": "Datenbankdienst",
    "datastore": "Datenspeicher",
    "datastore_cluster": "Datenspeicher-Cluster",
    "datastores": "Datenspeicher im Cluster",
    "device_uri": "Druckziel",
    "disk": "Festplatte",
    "disk_mode": "Betriebsart der Festplatte",
    "disk_path": "Ablageort der Festplatte",
    "dns_answer": "Antwort des Namensservers",
    "drs_automation": "DRS: Automatisierungsgrad",
    "drs_enabled": "Lastverteilung (DRS) eingeschaltet",
    "drs_migration_threshold": "DRS: Schwelle für Verschiebungen",
    "everything": "alle Angaben",
    "export": "Export des Speichersystems",
    "folder": "Ordner",
    "followers": "Anzahl folgender Zweitsysteme",
    "follows": "arbeitet als Zweitsystem",
    "forged_transmits": "gefälschte Absender erlaubt",
    "fqdn": "vollständiger Name",
    "groups": "berechtigte Gruppen",
    "guest_id": "Betriebssystemtyp",
    "guests": "Zugriff ohne Anmeldung",
    "ha_admission_control": "HA: Zugangssteuerung eingeschaltet",
    "ha_apd_response": "HA: Reaktion, wenn alle Pfade zum Speicher fehlen",
    "ha_enabled": "Hochverfügbarkeit (HA) eingeschaltet",
    "ha_host_monitoring": "HA: Überwachung der Hosts",
    "ha_isolation_response": "HA: Reaktion eines Hosts ohne Netz",
    "ha_pdl_response": "HA: Reaktion auf endgültig verlorenen Speicher",
    "ha_ready_condition": "HA: wann die nächste Priorität an der Reihe ist",
    "ha_reserve_computed_by_vcenter": "HA: Reserve berechnet vCenter selbst",
    "ha_reserved_cpu_percent": "HA: freigehaltene Rechenleistung (%)",
    "ha_reserved_memory_percent": "HA: freigehaltener Arbeitsspeicher (%)",
    "ha_restart_priority": "HA: Priorität beim Neustart",
    "ha_restart_timeout_seconds": "HA: längstes Warten auf eine Priorität (s)",
    "ha_vm_monitoring": "HA: Überwachung der VMs",
    "home_datastore": "Datenspeicher der VM-Dateien",
    "host_group": "Hostgruppe",
    "host_name": "Gerätename",
    "hosts": "Hosts der Gruppe",
    "is_group": "gilt für eine Gruppe",
    "keeps_policies": "Speicherrichtlinien zwingend",
    "log_kept": "Protokolle bleiben nach Neustart erhalten",
    "log_received": "Protokoll kommt bei den Protokollsammlern an",
    "log_servers": "Ziele der Protokollweiterleitung",
    "login_banner": "Hinweis vor der Anmeldung",
    "mac_changes": "Änderung der Hardwareadresse erlaubt",
    "memory_limit_mib": "Obergrenze Arbeitsspeicher (MiB)",
    "memory_mib": "Arbeitsspeicher (MiB)",
    "monitored": "Überwachung",
    "mounted": "Datenlaufwerk eingehängt",
    "mounted_on": "eingehängt auf den Hosts",
    "newest_backup": "Alter der jüngsten Sicherung",
    "network_connected": "Netz verbunden",
    "overridable": "Einstellungen, von denen einzelne Anschlüsse abweichen dürfen",
    "own_settings": "eigene Einstellungen bei DRS und HA",
    "owner": "Eigentümer",
    "package": "Programmpaket",
    "path": "Pfad",
    "permission": "Berechtigung",
    "policy": "Speicherrichtlinie",
    "policy_compliance": "Einhaltung der Speicherrichtlinie laut vCenter",
    "port_group": "Netz (Portgruppe)",
    "port_groups": "Netze (Portgruppen)",
    "powered_on": "eingeschaltet",
    "privileges": "Einzelrechte der Rolle",
    "promiscuous": "Mitlesen erlaubt",
    "propagate": "gilt auch für Untergeordnetes",
    "published": "verschlüsselt erreichbar, Zertifikat gültig",
    "queue": "Druckwarteschlange",
    "receiving": "Datenübernahme vom Erstsystem",
    "redirected": "Weiterleitung auf die verschlüsselte Verbindung",
    "reported_address": "Adresse laut Gastsystem wie deklariert",
    "repository_answers": "Sicherungsspeicher antwortet",
    "resource_pool": "Ressourcenpool",
    "restart_priority": "Priorität beim Neustart",
    "restore_proof": "Alter der bestandenen Rücksicherungsprobe",
    "role": "Rolle",
    "package_sources": "Paketquellen",
    "root_ca": "Stammzertifikat vertrauenswürdig",
    "rule": "Regel",
    "rule_enabled": "Regel eingeschaltet",
    "rule_mandatory": "Regel zwingend",
    "screen_lock_delay": "Verzögerung der Bildschirmsperre (Sekunden)",
    "screen_lock_enabled": "Bildschirmsperre eingeschaltet",
    "screen_lock_enforced": "Bildschirmsperre nicht abschaltbar",
    "screen_lock_seconds": "Bildschirmsperre nach (Sekunden)",
    "section": "Brandabschnitt",
    "sections_of_pair": "Paar in getrennten Brandabschnitten",
    "security_updates": "selbsttätige Sicherheitsaktualisierung",
    "share": "Netzlaufwerk",
    "size_gib": "Größe (GiB)",
    "storage_drs": "Speicherverteilung (Storage DRS) eingeschaltet",
    "switch": "Verteilter Switch",
    "time_servers": "Zeitserver",
    "time_zone": "Zeitzone",
    "unattended_upgrades_installed": "Aktualisierungsdienst installiert",
    "vlan": "VLAN",
    "vm": "virtuelle Maschine",
    "vm_group": "VM-Gruppe",
    "vm_host_rule": "Platzierungsregel",
    "vms": "Maschinen der Gruppe",
    "writable": "beschreibbar",
}

# Attributes that carry a name of their own behind a space.
_FAMILIES: Mapping[str, str] = {
    "tag": "Kennzeichen {}",
    "sshd": "Fernzugang: {}",
    "sudo": "Verwaltungsrechte von {}",
    "ssh_keys": "Zugangsschlüssel von {}",
    "unit": "Dienst {}",
    "log_received": "Protokoll kommt bei {} an",
    "monitored": "überwacht von {}",
}

_VALUES: Mapping[str, str] = {"yes": "ja", "no": "nein", "none": "–"}

_MONTHS = (
    *("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli"),
    *("August", "September", "Oktober", "November", "Dezember"),
)


def attribute(key: str) -> str:
    """An attribute of the audit in German. Raises KeyError for one that nobody has worded."""
    family, _, rest = key.partition(" ")
    return _FAMILIES[family].format(rest) if rest else ATTRIBUTES[key]


def value(text: str) -> str:
    """An expected or found value; only the words that the audit itself chose are translated."""
    return _VALUES.get(text, text)


def date(moment: calendar_day) -> str:
    """2. März 2026."""
    return f"{moment.day}. {_MONTHS[moment.month - 1]} {moment.year}"


def date_and_time(moment: datetime) -> str:
    """2. März 2026, 20:05 Uhr."""
    return f"{date(moment)}, {moment:%H:%M} Uhr"


def number(amount: int) -> str:
    """12.345, with the German thousands separator."""
    return f"{amount:,}".replace(",", ".")


def counted(amount: int, one: str, many: str) -> str:
    """1 Server, 8 Server, 0 Abweichungen."""
    return f"{number(amount)} {one if amount == 1 else many}"


def retention(keep: Mapping[str, int]) -> str:
    """alle 7 Tage lang, danach 31 täglich, 12 monatlich."""
    later = ", ".join(f"{keep[period]} {words}" for period, words in _PERIODS.items() if keep[period])
    return f"alle {keep['all_days']} Tage lang, danach {later}"


def name_ranges(names: list[str]) -> str:
    """``gra-ws0001 bis gra-ws0009, gra-ws0011``: neighbours in numbering are drawn together."""
    parts: list[tuple[str, str]] = []
    for name in sorted(names):
        if parts and _next(parts[-1][1]) == name:
            parts[-1] = (parts[-1][0], name)
        else:
            parts.append((name, name))
    return ", ".join(_range(first, last) for first, last in parts)


def _next(name: str) -> str | None:
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return f"{stem}{int(digits) + 1:0{len(digits)}d}" if digits else None


def _range(first: str, last: str) -> str:
    if first == last:
        return first
    return f"{first}, {last}" if _next(first) == last else f"{first} bis {last}"


def workplace_state(status: WorkplaceStatus, zone: ZoneInfo) -> str:
    """How runs left a workplace."""
    since = f" ({status.since.astimezone(zone):%d.%m.%Y})" if status.since else ""
    versions = ", ".join(
        f"{key} {version}".strip() + (" (Platzhalter)" if key in status.stand_ins else "")
        for key, version in status.installed.items()
    )
    if status.state == "done":
        checked = ", am Gerät nachgeprüft" if status.checked else ""
        return f"eingerichtet{since}{checked}" + (f": {versions}" if versions else "")
    if status.state == "failed":
        return f"gescheitert{since}: {status.reason}"
    if status.state == "off":
        return f"fällig, war nicht erreichbar{since}"
    return "fällig" + (f"{since}: {', '.join(status.due)}" if status.since else ", noch nicht eingerichtet")
