"""Titles of installed software in a form that can be compared.

Windows' list of installed software mixes the product's name with version, architecture,
language and packaging: ``Mozilla Firefox 115.6.0 ESR (x64 de)``. Versions with dots are always
dropped. Whole numbers are kept in ``form`` and dropped in ``any_generation``: ``Office 2016``
and ``Office 2019`` are different products, ``TeamViewer 12`` and ``TeamViewer 15`` are not; which
is which, the names in the catalogue decide.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_LANGUAGES: Final = (
    "de|en|fr|deu|enu|de-de|de_de|en-us|en_us|deutsch|german|english|englisch|francais|french|multilingual|multi"
)
_ARCHITECTURES: Final = r"x64|x86|x86_64|amd64|arm64|win32|win64|i386|(?:32|64)[- ]?bit(?:-version)?"
_PACKAGING: Final = r"edition|remove|only|or|repair|patch|build|installer|setup|user|current|per-user|canada|r\d+"
_VERSION: Final = r"(?:v|version|ver\.?|release|build|patch)?\s*v?\d+(?:[.\-_+]\w+)*|\d+u\d+(?:-b\d+)?"

_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_NOISE_ONLY = re.compile(rf"(?:\s|,|;|-|\b(?:{_LANGUAGES}|{_ARCHITECTURES}|{_PACKAGING}|{_VERSION}|kb\d+)(?![\w]))*")
_DOTTED = re.compile(
    r"(?<![\w.])(?:(?:version|ver\.?|release|build|rev\.?)\s*)?[vr]?\d+(?:\.\w+)+(?:[-+_]\w+)*(?![\w])"
    r"|(?<![\w.])\d+u\d+(?:-b\d+)?(?![\w])",
)
_ARCHITECTURE = re.compile(rf"(?<![\w])-?(?:{_ARCHITECTURES})(?:[- ]edition)?(?![\w])")
_LANGUAGE_TAIL = re.compile(rf"(?:\s+-\s+|\s+|,\s*)(?:(?:{_LANGUAGES})(?:,\s*)?)+$")
_LANGUAGE_AFTER_DASH = re.compile(rf"\s-\s(?:(?:{_LANGUAGES})(?:,\s*)?)+(?=\s|$)")
_CODENAME = re.compile(r"\s(?:'[^']+'|\"[^\"]+\")$")
_VERSION_WORD_TAIL = re.compile(r"[\s,-]+(?:version|release|build|ver\.?|v)$")
_WORD = re.compile(r"[a-z0-9]+\+*")
_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™©]")
# V17 and 17 are one generation.
_NUMBERED = re.compile(r"v(\d{1,4})")
_GENERATION = re.compile(r"\d{1,4}|\d{4}[a-z]?\d?")

# Words that say which part of a product is installed, not which product.
_PARTS: Final = frozenset(
    ("arbeitsplatz", "client", "desktop", "arbeitsplatzinstallation", "clientsoftware", "app", "apps")
)
# Words in a company's name that do not tell companies apart.
_COMPANY: Final = frozenset(
    re.findall(
        r"\w+",
        """
        ag and aoer aor bv by co com company community corp corporation de development developers e ev foundation gbr
        gesellschaft gmbh group hard holding http https inc incorporated informatik international it kg kgaa limited
        llc ltd mbh of open org project s sa se services soft software softwareentwicklung solutions source spol sro
        systeme systemhaus systems team technologies technology the unbekannt und unknown vertriebs www
        """,
    )
)


def folded(text: str) -> str:
    """Lower case, umlauts spelt out, no accents, no trademark signs, single blanks."""
    # Before anything else: NFKC would make letters of the signs, and Skype™ would be called skypetm.
    text = unicodedata.normalize("NFKC", _MARKS.sub("", text)).casefold()
    for umlaut, spelt in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("’", "'"), ("–", "-")):
        text = text.replace(umlaut, spelt)
    text = _MARKS.sub("", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(text.split())


@dataclass(frozen=True)
class Title:
    """One title, taken apart. ``publisher`` is what Windows says about its maker, if anything."""

    text: str
    publisher: str = ""

    @cached_property
    def folded(self) -> str:
        return folded(self.text)

    @cached_property
    def stable(self) -> str:
        """The title without what changes with every update; decisions are kept by it."""
        return _stripped(self.folded)

    @property
    def has_version(self) -> bool:
        """Whether a version with dots stands in it; a catalogue name with one means that version only."""
        return bool(_DOTTED.search(self.folded))

    @cached_property
    def words(self) -> tuple[str, ...]:
        first, *others = _WORD.findall(self.stable) or [""]
        if first == "ms" and others:
            first = "microsoft"
        words = (first, *(_NUMBERED.sub(r"\1", word) if _NUMBERED.fullmatch(word) else word for word in others))
        return words if first else ()

    @property
    def form(self) -> str:
        """Words only, numbers of generations kept: ``microsoft office standard 2016``."""
        return " ".join(self.words)

    @cached_property
    def generations(self) -> frozenset[str]:
        """Whole numbers after the first word."""
        return frozenset(word for word in self.words[1:] if _GENERATION.fullmatch(word))

    @property
    def any_generation(self) -> str:
        """``form`` without whole numbers after the first word."""
        return " ".join(word for i, word in enumerate(self.words) if i == 0 or word not in self.generations)

    @cached_property
    def without_part(self) -> str:
        """``any_generation`` without words at the end that name a part, such as Client."""
        words = self.any_generation.split()
        while len(words) > 1 and words[-1] in _PARTS:
            words.pop()
        return " ".join(words)

    @cached_property
    def without_publisher(self) -> str:
        """``without_part`` without words at the beginning that are the publisher's name."""
        words, publisher = self.without_part.split(), company_words(self.publisher)
        while len(words) > 1 and words[0] in publisher:
            words.pop(0)
        return " ".join(words)


def compact(form: str) -> str:
    """A form without blanks: pro doppik and prodoppik are one name."""
    return form.replace(" ", "")


def company_words(name: str) -> frozenset[str]:
    """The words of a company's name that tell it from others."""
    return frozenset(_WORD.findall(folded(name))) - _COMPANY


def _stripped(text: str) -> str:
    before = None
    while before != text:
        before = text
        text = _BRACKETS.sub(
            lambda found: " " if _NOISE_ONLY.fullmatch(found.group(1)) else f" {found.group(1)} ", text
        )
        text = _DOTTED.sub(" ", text)
        text = _ARCHITECTURE.sub(" ", text)
        text = _CODENAME.sub("", text.strip())
        text = _LANGUAGE_AFTER_DASH.sub(" ", text)
        text = _LANGUAGE_TAIL.sub("", text)
        text = _VERSION_WORD_TAIL.sub("", text.rstrip(" -,"))
        text = " ".join(text.split())
    # A title that is nothing but noise (a bare version) stays as it is.
    return text
