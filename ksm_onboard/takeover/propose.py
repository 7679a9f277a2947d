"""The proposed declaration and device list: a start for the person who writes the declaration.

Only what the exports tell is proposed; the archetype of the member's kind brings the rest. Every
assumption stands as a comment beside the value it led to.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.grouping import UNKNOWN_SITE, Placed, Sets, building_of, mobile_profile, slug
from ksm_onboard.takeover.read import OldPrinter, OldShare

# Room for growth over what the shares hold today; the archetype's disk stays if that is enough.
_GROWTH: Final = 1.5
_ADMINISTRATIVE_SHARES: Final = re.compile(r"(?:.*\$|netlogon|sysvol)", re.IGNORECASE)
_DEVICE_COLUMNS: Final = (
    "hostname", "serial", "mac", "site", "department", "profile", "platform", "wave", "replaces",
)  # fmt: skip
_VIRTUAL_PRINTERS: Final = re.compile(
    r"print to pdf|xps document|onenote|adobe pdf|pdf24|pdfcreator|freepdf|shared fax|^fax$",
    re.IGNORECASE | re.MULTILINE,
)
# A zone needs room for its devices and for the first 20 addresses, which are kept free.
_KEPT_FREE: Final = 22


@dataclass(frozen=True)
class Identity:
    """Who the member is. ``given`` is False where nobody has said it yet and the values are guesses."""

    key: str
    name: str
    kind: str
    short: str
    dns_domain: str
    responsible: str
    given: bool


@dataclass(frozen=True)
class Archetype:
    """What the member's kind brings anyway, as far as a proposal depends on it."""

    applications: frozenset[str] = frozenset()
    profiles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    waves: tuple[str, ...] = ()
    zones: frozenset[str] = frozenset()
    file_disk_gib: int | None = None


@dataclass(frozen=True)
class ProposedDevice:
    """One line of the proposed device list, and why it is grouped so."""

    hostname: str
    placed: Placed
    platform: str
    wave: str


def propose_devices(
    placed: Sequence[Placed], identity: Identity, archetype: Archetype, names: Mapping[str, str]
) -> list[ProposedDevice]:
    """New names, platforms and waves. ``names`` holds new names given earlier, by old name; they are kept."""
    taken = set(names.values())
    first_seen: dict[str, Placed] = {}
    for one in placed:
        first_seen.setdefault(one.device.hostname, one)
    number = 0
    proposed = []
    pilots = _pilots(first_seen.values()) if "pilot" in archetype.waves else frozenset()
    main_site = Counter(one.site.key for one in placed).most_common(1)[0][0] if placed else ""
    for hostname in sorted(first_seen, key=_natural):
        one = first_seen[hostname]
        name = names.get(hostname)
        while name is None:
            number += 1
            candidate = f"{identity.short}-ws{number:04d}"
            if candidate not in taken:
                taken.add(candidate)
                name = candidate
        wave = slug(one.device.wave) or ("pilot" if hostname in pilots else _wave(one, main_site, archetype.waves))
        proposed.append(ProposedDevice(name, one, _platform(one), wave))
    return sorted(proposed, key=lambda device: device.hostname)


def devices_csv(devices: Sequence[ProposedDevice]) -> str:
    """The device list in the format of ``stacks/<member>.devices.csv``."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\n")
    writer.writerow(_DEVICE_COLUMNS)
    serials: set[str] = set()
    macs: set[str] = set()
    for proposed in devices:
        device = proposed.placed.device
        # A serial number or MAC address that two devices claim is certainly wrong for one of them.
        serial = "" if device.serial.upper() in serials else device.serial
        mac = "" if device.mac in macs else device.mac
        serials.add(serial.upper())
        macs.add(mac)
        writer.writerow(
            (
                proposed.hostname,
                serial,
                mac,
                proposed.placed.site.key,
                proposed.placed.department.key,
                proposed.placed.profile,
                proposed.platform,
                proposed.wave,
                device.hostname,
            )
        )
    return out.getvalue()


def declaration_text(
    identity: Identity,
    devices: Sequence[ProposedDevice],
    *,
    sets: Sets,
    shares: Sequence[OldShare],
    printers: Sequence[OldPrinter],
    archetype: Archetype,
    catalogue: Mapping[str, CatalogueEntry],
) -> str:
    """The declaration as text with comments. Deterministic: the same exports give the same text."""
    offered = _Offered(catalogue)
    lines = [
        "# yaml-language-server: $schema=../docs/schema/member.json",
        f"# Proposal for {identity.name}, made from exports of its old systems. Nothing here is in force:",
        f"# check it, move it to stacks/{identity.key}.yaml, its devices to stacks/{identity.key}.devices.csv,",
        f"# then run: ksm-onboard allocate {identity.key} && ksm-onboard check {identity.key}",
        *_member(identity),
        *_sites(devices, printers),
        *_departments(devices),
        *_zones(devices, archetype),
        *_baseline(sets, archetype, offered),
        *_profiles(devices, sets, archetype, offered),
        *_shares(shares, archetype),
        *_printers(printers, devices),
        *_waves(devices, archetype),
    ]
    return "\n".join(lines) + "\n"


# --- sections of the declaration ----------------------------------------------------------


def _member(identity: Identity) -> list[str]:
    lines = ["member:", f"  key: {identity.key}"]
    if not identity.given:
        lines.insert(
            0, "# Guessed, because the member is not declared yet: name, kind, short, dns_domain, responsible."
        )
    return [
        *lines,
        f"  name: {_scalar(identity.name)}",
        f"  kind: {identity.kind}",
        f"  short: {identity.short}",
        f"  dns_domain: {identity.dns_domain}",
        f"  responsible: {_scalar(identity.responsible)}",
    ]


def _sites(devices: Sequence[ProposedDevice], printers: Sequence[OldPrinter]) -> list[str]:
    names = {device.placed.site.key: device.placed.site.name for device in devices}
    for printer in _real(printers):
        if (key := _printer_site(printer, names)) not in names and key:
            names[key] = printer.site
    count = Counter(device.placed.site.key for device in devices)
    lines = ["", "# The exports hold no postal addresses.", "sites:"]
    for key, name in sorted(names.items()):
        address = _scalar("Anschrift offen")
        lines.append(f"  {key}: {{name: {_scalar(name)}, address: {address}}}  # {_devices(count[key])}")
    return lines


def _departments(devices: Sequence[ProposedDevice]) -> list[str]:
    names = {device.placed.department.key: device.placed.department.name for device in devices}
    lines = ["", "departments:"]
    for key, name in sorted(names.items()):
        mine = [device.placed.department for device in devices if device.placed.department.key == key]
        reasons = Counter(group.told_by for group in mine)
        why = ", ".join(f"{number} by {reason}" for reason, number in sorted(reasons.items()))
        lines.append(f"  {key}: {{name: {_scalar(name)}}}  # {_devices(len(mine))}: {why}")
    return lines


def _zones(devices: Sequence[ProposedDevice], archetype: Archetype) -> list[str]:
    laptops = sum(device.placed.profile.endswith("mobil") for device in devices)
    if not laptops or "laptops" in archetype.zones:
        return []
    prefix = next(size for size in range(26, 8, -1) if 2 ** (32 - size) >= 2 * laptops + _KEPT_FREE)
    return ["", f"# {laptops} laptops; twice as many fit.", "zones:", f"  laptops: {{prefix: {prefix}}}"]


def _baseline(sets: Sets, archetype: Archetype, offered: _Offered) -> list[str]:
    keys, notes = offered.split(key for key in sets.baseline if key not in archetype.applications)
    if not keys and not notes:
        return []
    lines = ["", "# On at least four of five devices."]
    return [*lines, *(f"# {note}" for note in notes), *([f"extra_applications: {_list(keys)}"] if keys else [])]


def _profiles(devices: Sequence[ProposedDevice], sets: Sets, archetype: Archetype, offered: _Offered) -> list[str]:
    lines: list[str] = []
    used = Counter(device.placed.profile for device in devices)
    groups = {device.placed.profile: device.placed.group for device in devices}
    for profile, number in sorted(used.items()):
        own = profile in (groups[profile], mobile_profile(groups[profile]))
        wanted = sets.by_group.get(groups[profile], ()) if own else ()
        brought = archetype.profiles.get(profile, frozenset()) | archetype.applications
        keys, notes = offered.split(key for key in wanted if key not in brought)
        values = [f"extra_applications: {_list(keys)}"] if keys else []
        if profile.endswith("mobil") and profile not in archetype.profiles:
            values.insert(0, "zone: laptops")
        if not values and not notes and profile in archetype.profiles:
            continue
        lines.append(f"  # {_devices(number)}")
        lines += [f"  # {note}" for note in notes if profile == groups[profile]]
        lines += [f"  {profile}:", *(f"    {value}" for value in values)] if values else [f"  {profile}: {{}}"]
    return (
        [
            "",
            "# On at least half of the devices of a department (or of a profile, where the export names one).",
            "profiles:",
            *lines,
        ]
        if lines
        else []
    )


def _shares(shares: Sequence[OldShare], archetype: Archetype) -> list[str]:
    kept = [share for share in shares if not _ADMINISTRATIVE_SHARES.fullmatch(share.name)]
    if not kept:
        return []
    lines = ["", "shares:"]
    taken: set[str] = set()
    for share in sorted(kept, key=lambda one: one.name.casefold()):
        name = _unique(_unix_name(share.name), taken)
        size = "size not known" if share.gib is None else f"{share.gib:,.1f} GiB"
        values = [f"comment: {_scalar(share.comment or share.name)}"]
        if share.department:
            values.append(f"groups: [{_unix_name(share.department)}]")
        was = " ".join((share.path or share.name).split())
        lines.append(f"  {name}: {{{', '.join(values)}}}  # {size}, was {was}")
    left_out = len(shares) - len(kept)
    if left_out:
        lines.insert(
            1, f"# {left_out} administrative share{'s' if left_out > 1 else ''} left out (names ending in $, netlogon)."
        )
    return [*_file_server(kept, archetype), *lines]


def _file_server(shares: Sequence[OldShare], archetype: Archetype) -> list[str]:
    """A larger disk where the shares would not fit on the archetype's with room for growth."""
    total = sum(share.gib or 0.0 for share in shares)
    wanted = ceil(total * _GROWTH / 100) * 100
    if archetype.file_disk_gib is None or wanted <= archetype.file_disk_gib:
        return []
    why = f"# The shares hold {total:,.0f} GiB today; half as much again for growth."
    return ["", why, "servers:", f"  file01: {{disks: {{data: {{size_gib: {wanted}}}}}}}"]


def _printers(printers: Sequence[OldPrinter], devices: Sequence[ProposedDevice]) -> list[str]:
    kept = _real(printers)
    if not kept:
        return []
    sites = Counter(device.placed.site.key for device in devices)
    main = sites.most_common(1)
    lines = ["", "printers:"]
    if left_out := len(printers) - len(kept):
        queues = f"{left_out} queue{'s' if left_out > 1 else ''}"
        lines.insert(1, f"# {queues} left out that only print into a file or a fax.")
    taken: set[str] = set()
    for printer in sorted(kept, key=lambda one: one.name.casefold()):
        name = _unique(_unix_name(printer.name), taken)
        told = _printer_site(printer, sites)
        site = told or (main[0][0] if main else UNKNOWN_SITE)
        notes = [] if told else ["site assumed"]
        notes += [f"was {printer.address}"] if printer.address else []
        model = printer.model if len(printer.model) > 1 else "Modell offen"
        comment = f"  # {', '.join(notes)}" if notes else ""
        lines.append(f"  {name}: {{site: {site}, model: {_scalar(model)}}}{comment}")
    return lines


def _real(printers: Sequence[OldPrinter]) -> list[OldPrinter]:
    """The printers that stand somewhere."""
    return [one for one in printers if not _VIRTUAL_PRINTERS.search(f"{one.name}\n{one.model}")]


def _printer_site(printer: OldPrinter, known: Container[str]) -> str:
    """The key of its site: one where devices stand, if the export names its building; empty if it names none."""
    for name in (printer.site, building_of(printer.site), building_of(printer.location)):
        if slug(name) in known:
            return slug(name)
    return slug(printer.site)


def _waves(devices: Sequence[ProposedDevice], archetype: Archetype) -> list[str]:
    count = Counter(device.wave for device in devices)
    fresh = sorted(set(count) - set(archetype.waves))
    comment = "# Devices per wave: " + ", ".join(f"{wave} {number}" for wave, number in sorted(count.items()))
    if not fresh:
        return ["", comment] if count else []
    return ["", comment, "waves:", *(f"  {wave}: {{}}" for wave in fresh)]


@dataclass(frozen=True)
class _Offered:
    """What of the software found can be proposed for workstations, and what has to be said about the rest."""

    catalogue: Mapping[str, CatalogueEntry]

    def split(self, keys: Iterable[str]) -> tuple[list[str], list[str]]:
        good, notes = [], []
        for key in keys:
            application = self.catalogue[key].application
            if not application.offered:
                instead = f"; its place takes {application.successor}" if application.successor else ""
                notes.append(f"not proposed: {key} ({application.product}) is not offered{instead}")
            elif application.component in ("server", "operating-system"):
                notes.append(f"not proposed: {key} ({application.product}) belongs on a server")
            else:
                good.append(key)
        return good, notes


# --- single values ------------------------------------------------------------------------


def _platform(placed: Placed) -> str:
    """What the device runs today: an application for Windows does not run on Linux, however much one wishes it."""
    if placed.device.platform:
        return placed.device.platform
    os = placed.device.os.casefold()
    if any(word in os for word in ("linux", "debian", "ubuntu", "suse", "red hat")):
        return "linux"
    return "tablet" if any(word in os for word in ("ipados", "ios", "android")) else "windows"


def _wave(placed: Placed, main_site: str, waves: Sequence[str]) -> str:
    """IT goes first, then the department's own wave, outposts last; without waves of the kind there is one for all."""
    department = placed.department.key
    wanted = ["pilot"] if department in ("it", "edv") else []
    wanted += [department]
    wanted += ["finanzen"] if department in ("kaemmerei", "stadtkasse", "amtskasse", "finanzen") else []
    wanted += ["aussenstellen"] if placed.site.key not in (main_site, UNKNOWN_SITE) else []
    wanted += ["verwaltung"]
    return next((wave for wave in wanted if wave in waves), waves[-1] if waves else "alle")


def _pilots(placed: Iterable[Placed]) -> frozenset[str]:
    """One desk of every department that has at least three: the pilot meets every kind of work."""
    desks: dict[str, list[str]] = defaultdict(list)
    for one in placed:
        if not one.laptop and not one.device.wave:
            desks[one.department.key].append(one.device.hostname)
    return frozenset(min(names, key=_natural) for names in desks.values() if len(names) >= 3)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _unix_name(text: str) -> str:
    name = slug(text, 31)
    return name if name[:1].isalpha() else f"x-{name}"[:31].rstrip("-")


def _unique(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name[:28]}-{number}"
    taken.add(candidate)
    return candidate


def _scalar(text: str) -> str:
    """Text as YAML: plain where that is safe, else in quotation marks, always on one line."""
    text = " ".join(text.split())
    plain = re.fullmatch(r"[A-Za-zÄÖÜäöüß][\wÄÖÜäöüß .()/+-]*", text) and not text.endswith(" ")
    reserved = text.casefold() in ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    return text if plain and not reserved else json.dumps(text, ensure_ascii=False)


def _list(keys: Sequence[str]) -> str:
    return f"[{', '.join(key if key[:1].isalpha() else json.dumps(key) for key in keys)}]"


def _devices(number: int) -> str:
    return f"{number} device{'' if number == 1 else 's'}"
