"""Which column of an export means what: German and English headers, and the mapping file for all others.

A mapping file names, per export, the header of each field that is not recognised::

    devices: {hostname: Rechnername alt, serial: Inventar-Nr.}
    software: {sheet: Liste, title: Programm}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.source import Located, read_yaml
from ksm_onboard.takeover.tables import Row, Table

Export = Literal["devices", "software", "shares", "printers", "users", "licences"]

# A title, a date and an author often stand above the header.
_HEADER_WITHIN_ROWS: Final = 15

REQUIRED: Final[Mapping[Export, tuple[str, ...]]] = {
    "devices": ("hostname",),
    "software": ("hostname", "title"),
    "shares": ("name",),
    "printers": ("name",),
    "users": ("login",),
    "licences": ("title", "seats"),
}

HEADERS: Final[Mapping[Export, Mapping[str, tuple[str, ...]]]] = {
    "devices": {
        "hostname": (
            "hostname", "host name", "host", "computername", "computer name", "computer", "rechnername", "rechner",
            "gerätename", "gerät", "pc-name", "pc name", "pcname", "netbios-name", "netbiosname", "dnshostname",
            "arbeitsplatz", "client", "clientname", "workstation", "device", "device name", "devicename", "systemname",
            "netbios name", "asset name", "endpoint", "endpunkt", "rechnerbezeichnung", "gerätebezeichnung", "dns name",
            "fqdn", "name",
        ),
        "serial": (
            "serial", "serial number", "serialnumber", "serial no", "seriennummer", "serien-nr", "seriennr", "ser-nr",
            "service tag", "servicetag", "s/n", "sn", "computer serial number", "bios-seriennummer",
            "bios serial number",
        ),
        "mac": (
            "mac", "mac address", "macaddress", "mac-adresse", "macadresse", "physische adresse", "physical address",
            "hardwareadresse", "ethernet address", "mac-adressen", "mac addresses", "primäre mac-adresse",
            "netzwerk - mac-adresse", "computer mac address",
        ),
        "site": ("site", "standort", "gebäude", "building", "liegenschaft", "niederlassung", "objekt", "außenstelle",
                 "standortname"),
        "location": ("location", "room", "raum", "zimmer", "raumnummer", "etage", "ort", "aufstellort", "zimmer-nr"),
        "department": (
            "department", "abteilung", "amt", "fachbereich", "fachdienst", "sachgebiet", "organisationseinheit",
            "bereich", "kostenstelle", "dezernat", "abteilung/amt", "amt/abteilung", "oe", "org.-einheit",
            "dienststelle", "gruppe",
        ),
        "profile": ("profile", "profil", "arbeitsplatzprofil", "arbeitsplatztyp"),
        "platform": ("platform", "plattform"),
        "os": (
            "os", "operating system", "operatingsystem", "betriebssystem", "os name", "osname", "caption",
            "windows-version", "windowsversion", "betriebssystem - name", "computer o/s",
        ),
        "wave": ("wave", "welle", "rollout-welle", "umstellungswelle"),
        "model": ("model", "modell", "gerätemodell", "typ", "gerätetyp", "type", "hardware", "systemmodell",
                  "computer model", "hardware model"),
        "ou": (
            "ou", "distinguishedname", "distinguished name", "dn", "canonicalname", "canonical name", "ad-pfad",
            "ad path", "organizational unit", "container", "computer ad path",
        ),
        "user": (
            "user", "benutzer", "username", "user name", "benutzername", "anwender", "nutzer", "last user",
            "letzter benutzer", "angemeldeter benutzer", "primary user", "hauptbenutzer", "last logged on user",
            "registrierter benutzer", "computer current user",
        ),
        "replaces": ("replaces", "ersetzt", "ersatz für", "alter name", "old name"),
    },
    "software": {
        "hostname": (
            "hostname", "host name", "host", "computername", "computer name", "computer", "rechnername", "rechner",
            "gerätename", "gerät", "pc-name", "pc name", "pcname", "pscomputername", "client", "device", "device name",
            "arbeitsplatz", "workstation", "systemname", "netbios name", "asset name", "endpoint", "endpunkt",
            "assigned computer", "zugewiesener computer", "installiert auf",
        ),
        "title": (
            "title", "displayname", "display name", "software", "softwarename", "software name", "produkt",
            "produktname", "product", "product name", "programm", "programmname", "anwendung", "application",
            "application name", "anzeigename", "softwarebezeichnung", "programmbezeichnung", "bezeichnung", "name",
            "titel",
        ),
        "version": ("version", "displayversion", "display version", "softwareversion", "produktversion",
                    "application version", "product version", "versionsnummer"),
        "publisher": ("publisher", "hersteller", "vendor", "manufacturer", "herausgeber", "anbieter",
                      "softwarehersteller", "software publisher", "application publisher"),
    },
    "shares": {
        "name": (
            "name", "share", "sharename", "share name", "freigabe", "freigabename", "laufwerk", "netzlaufwerk",
            "ordner", "verzeichnis",
        ),
        "path": ("path", "pfad", "unc", "unc-pfad", "unc path", "lokaler pfad", "local path", "verzeichnispfad"),
        "server": ("server", "fileserver", "dateiserver", "servername", "pscomputername", "host"),
        "size": (
            "size", "größe", "belegt", "belegter speicher", "used", "used space", "speicherplatz", "datenmenge",
            "volumen", "umfang", "genutzt",
        ),
        "department": ("department", "abteilung", "amt", "fachbereich", "fachdienst", "gruppe", "group", "groups",
                       "gruppen", "berechtigte gruppe", "bereich", "berechtigte"),
        "comment": ("comment", "kommentar", "beschreibung", "description", "bemerkung", "zweck"),
    },
    "printers": {
        "name": ("name", "printer", "printername", "printer name", "drucker", "druckername", "druckerwarteschlange",
                 "queue", "warteschlange", "freigabename", "sharename"),
        "address": ("ip", "ip address", "ipaddress", "ip-adresse", "ipadresse", "address", "adresse", "port",
                    "portname", "port name", "anschluss", "anschlussname"),
        "model": ("model", "modell", "typ", "gerätetyp", "driver", "drivername", "driver name", "treiber",
                  "treibername", "gerät", "druckertreiber", "druckermodell"),
        "serial": ("serial", "serial number", "serialnumber", "seriennummer", "serien-nr", "s/n"),
        "mac": ("mac", "mac address", "mac-adresse"),
        "site": ("site", "standort", "gebäude", "building", "liegenschaft", "objekt"),
        "location": ("location", "raum", "room", "aufstellort", "zimmer", "ort"),
        "department": ("department", "abteilung", "amt", "fachbereich", "fachdienst"),
    },
    "users": {
        "login": (
            "login", "samaccountname", "account", "konto", "kontoname", "benutzername", "username", "user name",
            "anmeldename", "user", "benutzer", "kennung", "userprincipalname", "logon name",
        ),
        "name": ("name", "displayname", "display name", "anzeigename", "vollständiger name", "full name", "cn"),
        "department": ("department", "abteilung", "amt", "fachbereich", "fachdienst", "sachgebiet", "bereich",
                       "organisationseinheit"),
        "ou": ("ou", "distinguishedname", "distinguished name", "dn", "canonicalname", "ad-pfad"),
        "site": ("site", "standort", "gebäude", "office", "büro", "physicaldeliveryofficename"),
        "enabled": ("enabled", "aktiv", "aktiviert", "active", "status"),
    },
    "licences": {
        "title": ("title", "software", "produkt", "product", "lizenz", "licence", "license", "bezeichnung", "name",
                  "anwendung", "programm"),
        "seats": ("seats", "anzahl", "menge", "quantity", "lizenzen", "stück", "count", "plätze", "anzahl lizenzen"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Where the fields of one export stand: the header row, and each field's position in it."""

    table: Table
    header: Row
    position: Mapping[str, int]

    def text(self, row: Row, field: str) -> str:
        """The cell of ``field``; empty where the column or the cell is missing."""
        at = self.position.get(field)
        return row.cells[at] if at is not None and at < len(row.cells) else ""

    @property
    def used(self) -> Mapping[str, str]:
        """The header of every field that was found."""
        return {name: self.header.cells[at] for name, at in self.position.items()}

    @property
    def unused(self) -> tuple[str, ...]:
        """The headers of which nothing is read."""
        taken = set(self.position.values())
        return tuple(cell for at, cell in enumerate(self.header.cells) if cell and at not in taken)

    @property
    def body(self) -> list[Row]:
        """The rows below the header."""
        return [row for row in self.table.rows if row.line > self.header.line]


@dataclass(frozen=True)
class ColumnMapping:
    """A column mapping file: per export the header of each field, and the sheet to read."""

    located: Located | None = None
    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def header(self, export: Export, name: str) -> str | None:
        """The header that the file states for a field, or for the pseudo-field ``sheet``."""
        return self.headers.get(export, {}).get(name)


def read_mapping(file: Path) -> tuple[ColumnMapping, list[Finding]]:
    """Read a mapping file; every wrong entry is a finding, and left out."""
    located, findings = read_yaml(file)
    if located.data is None:
        return ColumnMapping(), findings
    if not isinstance(located.data, dict):
        message = "a mapping file holds one entry per export, for example 'devices: {hostname: Rechner}'"
        return ColumnMapping(), [*findings, Finding("wrong-type", located.place(()), message)]
    headers: dict[str, dict[str, str]] = {}
    for export, entries in located.data.items():
        if export not in HEADERS:
            findings.append(_unknown(located, (export,), export, sorted(HEADERS), "export"))
        elif not isinstance(entries, dict):
            message = f"{export}: name the header of each field, for example {{{REQUIRED[export][0]}: Bezeichnung}}"
            findings.append(Finding("wrong-type", located.place((export,)), message))
        else:
            known = sorted((*HEADERS[export], "sheet"))
            for name, header in entries.items():
                if name not in known:
                    findings.append(_unknown(located, (export, name), name, known, "field"))
                elif not isinstance(header, str) or not header.strip():
                    message = f"{export}.{name}: the header must be text"
                    findings.append(Finding("wrong-type", located.place((export, name)), message, str(header)))
                else:
                    headers.setdefault(export, {})[name] = header
    return ColumnMapping(located, headers), findings


def find_columns(
    export: Export, tables: Sequence[Table], mapping: ColumnMapping
) -> tuple[Columns | None, list[Finding]]:
    """The table with this export and where its fields stand; None and findings if that is not clear.

    Of several sheets with all required columns the one where the most columns are known counts. The header
    may stand a few rows below the top.
    """
    fitting = [found for table in tables if (found := _complete(export, table, mapping)) is not None]
    if fitting:
        columns, findings = max(fitting, key=lambda found: len(found[0].position))
        return (None, findings) if findings else (columns, _lengths(columns))
    best: tuple[int, Columns, list[Finding]] | None = None
    for table in tables:
        for row in table.rows[:_HEADER_WITHIN_ROWS]:
            position, findings = _recognised(export, table, row, mapping)
            if best is None or len(position) > best[0]:
                best = len(position), Columns(table, row, position), findings
    if best is None:
        return None, []
    _, columns, findings = best
    return None, findings or [_missing(export, columns)]


def _complete(export: Export, table: Table, mapping: ColumnMapping) -> tuple[Columns, list[Finding]] | None:
    """The first row of ``table`` that names all required fields, as its header; None if there is none."""
    for row in table.rows[:_HEADER_WITHIN_ROWS]:
        position, findings = _recognised(export, table, row, mapping)
        if all(name in position for name in REQUIRED[export]):
            return Columns(table, row, position), findings
    return None


def _recognised(export: Export, table: Table, row: Row, mapping: ColumnMapping) -> tuple[dict[str, int], list[Finding]]:
    position: dict[str, int] = {}
    findings: list[Finding] = []
    found = [squeezed(cell) for cell in row.cells]
    for name, synonyms in HEADERS[export].items():
        stated = mapping.header(export, name)
        names = [squeezed(stated)] if stated is not None else [squeezed(synonym) for synonym in synonyms]
        header = next((header for header in names if header and header in found), None)
        if header is None:
            if stated is not None and mapping.located is not None:
                findings.append(_not_there(export, name, stated, row, mapping.located))
            continue
        if found.count(header) > 1:
            second = found.index(header, found.index(header) + 1)
            findings.append(
                Finding(
                    rule="csv-duplicate-column",
                    place=table.place(row, second),
                    message=f"two columns are called '{row.cells[second]}'",
                    value=row.cells[second],
                    hint=f"remove one of them; it is not clear which one holds the {name}",
                )
            )
        position[name] = found.index(header)
    return position, findings


def _lengths(columns: Columns) -> list[Finding]:
    """Records that are longer than the header: a delimiter inside a value has shifted their cells."""
    width = len(columns.header.cells)
    return [
        Finding(
            rule="csv-cells",
            place=columns.table.place(row, width),
            message=f"the line has {len(row.cells)} cells, the header has {width}",
            value=str(len(row.cells)),
            allowed=str(width),
            hint=f"a value that contains '{columns.table.delimiter}' must stand in quotation marks",
        )
        for row in columns.body
        if any(row.cells[width:])
    ]


def _missing(export: Export, columns: Columns) -> Finding:
    names = [name for name in REQUIRED[export] if name not in columns.position]
    allowed = "; ".join(f"{name}: {', '.join(HEADERS[export][name][:6])} …" for name in names)
    there = ", ".join(f"'{cell}'" for cell in columns.header.cells[:20] if cell)
    plural = "s" if len(names) > 1 else ""
    hint = f"name the column{plural} in a mapping file (--mapping): {export}: {{{names[0]}: …}}"
    if export == "software" and names == ["hostname"]:
        hint += "; a list that is summed up over all devices is not enough: export one line per device and title"
    return Finding(
        rule="csv-missing-column",
        place=columns.table.place(columns.header, 0),
        message=f"the {export} export has no column for {' and '.join(names)}; there is: {there}",
        value=", ".join(names),
        allowed=allowed,
        hint=hint,
    )


def _not_there(export: Export, name: str, stated: str, row: Row, located: Located) -> Finding:
    close = get_close_matches(stated, row.cells, n=1)
    return Finding(
        rule="csv-missing-column",
        place=located.place((export, name)),
        message=f"{export}.{name}: the export has no column '{stated}'",
        value=stated,
        allowed=", ".join(cell for cell in row.cells if cell),
        hint=f"did you mean '{close[0]}'?" if close else None,
    )


def _unknown(located: Located, loc: tuple[str | int, ...], value: str, known: Sequence[str], what: str) -> Finding:
    close = get_close_matches(value, known, n=1)
    return Finding(
        rule="unknown-key",
        place=located.key_place(loc),
        message=f"'{value}' is not a known {what}",
        value=value,
        allowed=", ".join(known),
        hint=f"did you mean '{close[0]}'?" if close else None,
    )


def squeezed(header: str) -> str:
    """A header for comparison: lower case, umlauts spelt out, letters and digits only, without units.

    The 0 that Configuration Manager puts behind every column (``Name0``) is dropped, too.
    """
    text = re.sub(r"[(\[].*?[)\]]", " ", header).casefold().strip()
    text = re.sub(r"(?<=\w)\s+(?:in\s+)?(?:[kmgt]i?b|bytes?)$", "", text)
    for umlaut, spelt in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        text = text.replace(umlaut, spelt)
    return re.sub(r"(?<=[a-z])0$", "", re.sub(r"[^a-z0-9]", "", text))
