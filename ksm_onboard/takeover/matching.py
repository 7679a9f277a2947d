"""From a title of installed software to an entry of the catalogue: matched, doubtful, unknown or ignored.

Tried in this order; the first that fits decides, and says so in ``method``:

1. ``decision``: a person has decided (see ``decisions``).
2. ``exact``: the title is the product's name. ``alias``: it is one of the entry's aliases (``*`` fits any text).
3. ``normalised``: the same after version, architecture, language and the maker's name are dropped.
4. ``rule``: an explicit rule says why it is no application (see ``ignored``).
5. ``fuzzy``: similar to exactly one entry, whose maker agrees.

Numbers are names: ``Office 2013`` never becomes ``Office 2016``, nor ``Python 3.9`` ``Python 2.7``; where the
catalogue tells a product's generations apart, one that it does not know (``SQL Server 2008``) is doubtful.
A name counts only if the maker does not contradict. Whatever is less certain is doubtful, with candidates.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final, Literal

from rapidfuzz import fuzz, process

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.ignored import reason_to_ignore
from ksm_onboard.takeover.titles import Title, compact, company_words, folded

# Scores are rapidfuzz's token_sort_ratio, 0 to 100. Measured on tests/unit/takeover/titles.csv:
# below 92 wrong entries begin to appear among the first; below 75 candidates are no help.
MATCHED_FROM: Final = 92.0
MARGIN: Final = 5.0
DOUBTFUL_FROM: Final = 75.0
# A title that contains a whole name says more than letters in common do.
_CONTAINS: Final = 80.0
_CONTAINED_LENGTH: Final = 5  # shorter names need a maker that agrees
_OTHER_MAKER: Final = 10.0
_CANDIDATES: Final = 4

Verdict = Literal["matched", "doubtful", "unknown", "ignored", "retired"]
Method = Literal["decision", "exact", "alias", "normalised", "fuzzy", "rule", "none"]

# Jobs whose entries come along with the applications that require them.
RUNTIME_JOBS: Final = frozenset(("laufzeitumgebung", "datenbanktreiber"))


@dataclass(frozen=True)
class Candidate:
    """An entry that a title may mean, with its score (0 to 100) and why it is not certain."""

    key: str
    score: float
    why: str


@dataclass(frozen=True)
class Match:
    """What a title is. ``key`` is set where it is certain; ``candidates`` where it is doubtful."""

    verdict: Verdict
    method: Method
    key: str | None = None
    score: float = 100.0
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class _Name:
    """One name of an entry: its product's, or an alias."""

    key: str
    title: Title
    is_alias: bool


@dataclass
class Matcher:
    """The catalogue, prepared for look-ups. ``findings`` name aliases that two entries claim."""

    catalogue: Mapping[str, CatalogueEntry]
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._literal: dict[str, list[_Name]] = defaultdict(list)
        self._patterns: list[tuple[re.Pattern[str], _Name]] = []
        self._forms: dict[str, list[_Name]] = defaultdict(list)
        self._without_maker: dict[str, list[_Name]] = defaultdict(list)
        names: list[_Name] = []
        for key, entry in self.catalogue.items():
            names.append(_Name(key, Title(entry.application.product), False))
            names += [_Name(key, Title(alias), True) for alias in entry.application.aliases if "*" not in alias]
            for alias in entry.application.aliases:
                if "*" in alias:
                    self._patterns.append((re.compile(translate(folded(alias))), _Name(key, Title(alias), True)))
        for name in names:
            self._literal[name.title.folded].append(name)
        # A name with a version (Python 2.7) means that version only: it is never found without it.
        names = [name for name in names if not name.title.has_version]
        for name in names:
            for form in self._forms_of(name):
                if all(known.key != name.key for known in self._forms[form]):
                    self._forms[form].append(name)
            # Acrobat Reader is enough for Adobe's; of Microsoft Teams, Teams alone is not.
            words = name.title.words
            if words[:1] == tuple(self._maker_of(name)[:1]) and len(words) > 2:
                self._without_maker[compact(" ".join(words[1:]))].append(name)
        self.findings += [finding for found in self._literal.values() for finding in self._claimed_twice(found)]
        # Entries that differ in a number only, by the name without it: their numbers by key.
        self._told_apart: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for name in names:
            self._told_apart[compact(name.title.any_generation)][name.key] |= name.title.generations
        self._choices = {i: name.title.any_generation for i, name in enumerate(names)}
        self._names = names
        self._words: dict[str, list[_Name]] = defaultdict(list)
        for name in names:
            self._words[name.title.words[0] if name.title.words else ""].append(name)

    def match(self, title: Title) -> Match:
        """What ``title`` is, as far as the catalogue and the rules can tell."""
        found = self._by_name(title)
        if found is not None:
            return found
        if reason := reason_to_ignore(title.folded, folded(title.publisher)):
            return Match("ignored", "rule", reason=reason)
        return self._by_similarity(title)

    # --- names ----------------------------------------------------------------------------

    def _forms_of(self, name: _Name) -> set[str]:
        """The forms under which a name is found: as it is, and with its maker's name before it."""
        maker = self._maker_of(name)
        return {compact(" ".join((*maker[:count], *name.title.words))) for count in range(3)} - {""}

    def _maker_of(self, name: _Name) -> list[str]:
        return re.findall(r"[a-z0-9]+", folded(self.catalogue[name.key].application.vendor))

    def _by_name(self, title: Title) -> Match | None:
        if literal := self._literal.get(title.folded):
            return self._one_of(title, literal, "alias" if all(name.is_alias for name in literal) else "exact")
        for pattern, name in self._patterns:
            if pattern.match(title.folded):
                return self._settled(name.key, "alias")
        for form in dict.fromkeys((title.form, title.any_generation, title.without_part, title.without_publisher)):
            names = [name for name in self._forms.get(compact(form), ()) if not _numbers_differ(title, name.title)]
            if names and (unknown := self._unknown_generation(title, form, names)):
                return unknown
            if names:
                return self._one_of(title, names, "normalised")
        names = [
            name
            for name in self._without_maker.get(compact(title.without_part), ())
            if self._maker_agrees(title, name.key) is not False and not _numbers_differ(title, name.title)
        ]
        return self._one_of(title, names, "normalised") if names else None

    def _unknown_generation(self, title: Title, form: str, names: Sequence[_Name]) -> Match | None:
        """Doubtful where the name says no generation, but others of the same name do, and not the title's."""
        by_key = self._told_apart.get(compact(form), {})
        known = frozenset().union(*by_key.values())
        keys = dict.fromkeys(name.key for name in names)
        others = any(by_key[key] for key in by_key if key not in keys)
        if not others or title.generations <= known or any(name.title.generations for name in names):
            return None
        why = f"the catalogue tells {', '.join(sorted(known))} apart, and does not know this one"
        return Match("doubtful", "normalised", score=90.0, candidates=tuple(Candidate(key, 90.0, why) for key in keys))

    def _one_of(self, title: Title, names: Sequence[_Name], method: Method) -> Match:
        """The entry among ``names`` whose maker agrees: a name may be anybody's."""
        names = list({name.key: name for name in names}.values())
        if len(names) > 1:
            agreeing = [name for name in names if self._maker_agrees(title, name.key)]
            if len(agreeing) != 1:
                why = "several entries have this name"
                return Match("doubtful", method, candidates=tuple(Candidate(name.key, 95.0, why) for name in names))
            return self._settled(agreeing[0].key, method)
        (name,) = names
        if self._maker_agrees(title, name.key) is False:
            maker = self.catalogue[name.key].application.vendor
            why = f"same name, but made by '{title.publisher}', not by {maker}"
            return Match("doubtful", method, candidates=(Candidate(name.key, 95.0, why),))
        return self._settled(name.key, method)

    def _settled(self, key: str, method: Method, score: float = 100.0) -> Match:
        application = self.catalogue[key].application
        if application.job in RUNTIME_JOBS:
            reason = f"a runtime ({key}); it comes with the applications that require it"
            return Match("ignored", method, key, score, reason)
        return Match("matched", method, key, score)

    def _maker_agrees(self, title: Title, key: str) -> bool | None:
        """Whether publisher and vendor share a telling word; None where the export names no publisher."""
        publisher = company_words(title.publisher)
        if not publisher:
            return None
        application = self.catalogue[key].application
        # Makers change with the years, and old ones live on in names: Mozilla Thunderbird, Nuance Power PDF.
        known = company_words(" ".join((application.vendor, application.product, *application.aliases)))
        if publisher & known:
            return True
        joined, vendor = compact(folded(title.publisher)), compact(folded(application.vendor))
        return any(len(word) > 3 and word in joined for word in known) or any(
            len(word) > 3 and word in vendor for word in publisher
        )

    # --- similarity -----------------------------------------------------------------------

    def _by_similarity(self, title: Title) -> Match:
        best: dict[str, Candidate] = {}
        for name, similarity, why in (*self._similar(title), *self._contained(title)):
            differs = _numbers_differ(title, name.title)
            score = round(min(similarity, 85.0) if differs else similarity, 1)
            if name.key not in best or score > best[name.key].score:
                best[name.key] = Candidate(name.key, score, f"{why}, but the numbers differ" if differs else why)
        ranked = sorted(best.values(), key=lambda candidate: (-candidate.score, candidate.key))[:_CANDIDATES]
        if not ranked:
            return Match("unknown", "none", score=0.0)
        first = ranked[0]
        alone = len(ranked) == 1 or first.score - ranked[1].score >= MARGIN
        if first.score >= MATCHED_FROM and alone and self._maker_agrees(title, first.key):
            return self._settled(first.key, "fuzzy", first.score)
        return Match("doubtful", "fuzzy", score=first.score, candidates=tuple(ranked))

    def _similar(self, title: Title) -> Iterable[tuple[_Name, float, str]]:
        found = process.extract(
            title.any_generation, self._choices, scorer=fuzz.token_sort_ratio, score_cutoff=DOUBTFUL_FROM, limit=8
        )
        for _, similarity, index in found:
            name = self._names[index]
            score = similarity - (_OTHER_MAKER if self._maker_agrees(title, name.key) is False else 0.0)
            if score >= DOUBTFUL_FROM:
                yield name, score, f"similar to '{name.title.text}'"

    def _contained(self, title: Title) -> Iterable[tuple[_Name, float, str]]:
        """Names that stand in the title as whole words, if the maker does not contradict."""
        words = title.words
        for start, word in enumerate(words):
            for name in self._words.get(word, ()):
                wanted = name.title.words
                if words[start : start + len(wanted)] != wanted:
                    continue
                agrees = self._maker_agrees(title, name.key)
                length = len(compact(name.title.form))
                if agrees or (agrees is None and length >= _CONTAINED_LENGTH):
                    share = length / len(compact(title.form))
                    yield name, _CONTAINS + 10.0 * share, f"the title contains '{name.title.text}'"
        # The other way round: avviso may well be avviso Vollstreckung.
        begin = Title(title.without_publisher).words
        for name in self._words.get(begin[0], ()) if begin and not title.generations else ():
            length = len(compact(" ".join(begin)))
            agrees = self._maker_agrees(title, name.key)
            longer = len(name.title.words) > len(begin) and name.title.words[: len(begin)] == begin
            if longer and (agrees or (agrees is None and length >= _CONTAINED_LENGTH)):
                yield name, DOUBTFUL_FROM, f"'{name.title.text}' begins so"

    def _claimed_twice(self, names: Sequence[_Name]) -> Iterable[Finding]:
        """Two products may have one name; an alias that names two entries helps nobody."""
        first = names[0]
        for name in names[1:]:
            if name.key != first.key and (name.is_alias or first.is_alias):
                yield Finding(
                    rule="alias-twice",
                    place=self.catalogue[name.key].place,
                    message=f"'{name.title.text}' names both '{first.key}' and '{name.key}'",
                    value=name.title.text,
                    hint=f"the other entry is at {self.catalogue[first.key].place}; leave the alias to one of them",
                )


def _numbers_differ(title: Title, name: Title) -> bool:
    """Whether the name is that of a generation, and the title's is another or none."""
    return bool(name.generations) and not name.generations <= title.generations
