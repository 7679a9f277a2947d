"""What is installed but is no application to take over: updates, drivers, runtimes, parts of Windows.

Explicit rules, tried in this order on the folded title (see ``titles.folded``); the first one that
fits gives the reason. A title that the catalogue knows by name is never asked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class IgnoreRule:
    """Titles that match ``pattern`` (and, where given, come from ``publisher``) are left out because of ``reason``."""

    pattern: re.Pattern[str]
    reason: str
    publisher: re.Pattern[str] | None = None

    def fits(self, title: str, publisher: str) -> bool:
        """Whether the rule fits; both texts folded."""
        return bool(self.pattern.search(title)) and (self.publisher is None or bool(self.publisher.search(publisher)))


def _rule(reason: str, pattern: str, publisher: str | None = None) -> IgnoreRule:
    return IgnoreRule(re.compile(pattern), reason, re.compile(publisher) if publisher else None)


_UPDATE = "an update; updates come with the software they belong to"
_RUNTIME = "a runtime library; it comes with the applications that need it"
_DRIVER = "a driver or hardware tool; it comes with the device's own setup"
_PART = "a part of another product, not an application of its own"
_WINDOWS = "a part of Windows"
_UPDATER = "a background updater of another product"

RULES: Final[tuple[IgnoreRule, ...]] = (
    _rule(_UPDATE, r"^(?:security |sicherheits)?update (?:for|fuer)\b"),
    _rule(_UPDATE, r"^(?:hotfix|definition ?s?update|service pack \d+|update rollup|patch) (?:for|fuer)\b"),
    _rule(_UPDATE, r"^kb\d{6,}$|^(?:kumulatives|cumulative) update\b|\(kb\d{6,}\)"),
    _rule(_WINDOWS, r"^(?:microsoft )?windows.*(?:update[- ]assist|installationsassistent|installation assistant)"),
    _rule(_WINDOWS, r"^microsoft update health tools|pc-integritaetspruefung|pc health check|^windows sdk addon"),
    _rule(_WINDOWS, r"^microsoft print to pdf"),
    _rule(_RUNTIME, r"^microsoft visual c\+\+ .*(?:redistributable|runtime)"),
    _rule(_RUNTIME, r"^microsoft visual (?:basic|j#|f#) .*(?:redistributable|runtime|power packs)"),
    _rule(_RUNTIME, r"^microsoft visual studio .*tools (?:for|fuer) office"),
    _rule(_RUNTIME, r"^microsoft (?:\.net|asp\.net|windows desktop)\b.*(?:framework|runtime|host|targeting|sdk)"),
    _rule(_RUNTIME, r"^(?:microsoft )?msxml|^microsoft xna framework|^microsoft report viewer"),
    _rule(_RUNTIME, r"^microsoft (?:sql server )?system clr types|^microsoft sql server compact"),
    _rule(_RUNTIME, r"^microsoft (?:ole db|odbc) driver|^microsoft sql server.*native client"),
    _rule(_RUNTIME, r"^microsoft access database engine|^vulkan run ?time"),
    _rule(_RUNTIME, r"^(?:adoptopenjdk|eclipse temurin|amazon corretto|azul zulu|liberica)\b"),
    _rule(_RUNTIME, r"^(?:crystal reports|sap crystal reports) .*runtime|^directx\b|^borland database engine"),
    _rule(_PART, r"^microsoft (?:office|outlook|word|excel|powerpoint|access|publisher|onenote|groove|infopath|"
                 r"skype|lync|dcf|x-x|osm|office osm)\b.*\bmui\b"),
    _rule(_PART, r"^microsoft office.*(?:proof|korrekturhilfen|shared|language pack|sprachpaket|file validation)"),
    _rule(_PART, r"^office \d+ click-to-run|^microsoft teams meeting add-in|^libreoffice.*help ?pack"),
    _rule(_PART, r"^(?:apple (?:software update|mobile device support|application support)|bonjour)\b"),
    _rule(_PART, r"^autodesk (?:material library|single sign on|genuine service|content|licensing|identity)"),
    _rule(_PART, r"^adobe (?:refresh manager|genuine service|notification client|camera raw)|^tap-windows\b"),
    _rule(_UPDATER, r"\b(?:maintenance service|auto updater|update helper|updater|update service)\b"),
    _rule(_UPDATER, r"^(?:microsoft edge|google) update\b"),
    _rule(_DRIVER, r"\b(?:driver|drivers|treiber|treiberpaket|grafiktreiber|druckertreiber|audiotreiber)\b"),
    _rule(_DRIVER, r"hd-audiotreiber|chipset|product library|mfl-pro suite|\btouchpad\b|card reader\b"),
    _rule(_DRIVER, r"^intel", r"^intel"),
    _rule(_DRIVER, r"^(?:realtek|conexant|synaptics|elan|alps|nvidia|amd|ati|via|broadcom|qualcomm|killer) "),
    _rule(_DRIVER, r"^(?:hp|dell|lenovo|thinkpad|thinkvantage|fujitsu|acer|asus|toshiba|medion|wortmann)\b.*"
                   r"(?:support|hotkey|documentation|command|update|vantage|utility|powermanager|power manager|"
                   r"wireless|audio|bios|diagnos|registration|recovery|system|assist|touch|connection)"),
    _rule(_DRIVER, r"^paperstream ip|\b(?:twain|wia)\b"),
)  # fmt: skip


def reason_to_ignore(title: str, publisher: str) -> str | None:
    """Why this is no application to take over; None if it may be one. Both texts folded."""
    return next((rule.reason for rule in RULES if rule.fits(title, publisher)), None)
