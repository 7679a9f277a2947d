"""The evidence of a baseline in words: English for the terminal, German for the hand-over protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ksm_onboard.policies.catalogue import reason
from ksm_onboard.policies.rules import RULES
from ksm_onboard.reporting import wording
from ksm_onboard.reporting.baseline import Evidence, Status
from ksm_onboard.verifying.audit_report import Area

Language = Literal["en", "de"]

STATUS_DE: Mapping[Status, str] = {
    "violated": "verletzt",
    "waived": "Ausnahme",
    "partly": "teilweise nachgewiesen",
    "fulfilled": "erfüllt",
    "not checkable": "hier nicht prüfbar",
}

_SHOWN = 3
_MACHINES = {
    "en": {"": "machines", "server": "servers", "workstation": "workstations"},
    "de": {"": "Geräten", "server": "Servern", "workstation": "Arbeitsplätzen"},
}
_PLANNED = {
    ("log_servers", "en"): "log servers, declared only",
    ("log_servers", "de"): "Protokollserver, nur deklariert",
    ("backups", "en"): "data disks with a backup class and copies, declared only",
    ("backups", "de"): "Datenplatten mit Sicherungsklasse und Kopien, nur deklariert",
}


def words(evidence: Evidence, language: Language) -> str:
    """One line: what was looked at, and what of it does not agree."""
    told = _looked_at(evidence, language)
    for found, en, de in ((evidence.wrong, "not so", "nicht so"), (evidence.waived, "waived", "Ausnahme")):
        if found:
            told += f"; {en if language == 'en' else de}: {_some(found)}"
    return told


def _looked_at(evidence: Evidence, language: Language) -> str:
    english = language == "en"
    seen, there, name = evidence.looked_at, evidence.there, evidence.name
    if evidence.source == "none":
        return reason(name, language)
    if evidence.source == "plan":
        return f"{seen} {_PLANNED[name, language]}"
    if evidence.source == "rule":
        if not name:
            return "the stacks are not set up yet" if english else "die Stacks sind noch nicht aufgebaut"
        if not seen:
            return f"{name}: {RULES[name].absent}" if english else f"Regel {name}: nichts dergleichen in den Stacks"
        return f"{name}: {seen} resources judged" if english else f"Regel {name}: {seen} Ressourcen beurteilt"
    if evidence.source == "machines":
        kinds = _MACHINES[language][name]
        return f"asked on {seen} of {there} {kinds}" if english else f"auf {seen} von {there} {kinds} erhoben"
    area = name if english else wording.AREAS[Area(name)]
    if not there:
        return f"{area}: not audited" if english else f"{area}: nicht geprüft"
    gaps = there - seen
    if english:
        return f"{area}: {seen} points compared" + (f", {gaps} could not be" if gaps else "")
    return f"{area}: {seen} Punkte verglichen" + (f", {gaps} nicht" if gaps else "")


def _some(texts: tuple[str, ...]) -> str:
    more = f" … ({len(texts)})" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
