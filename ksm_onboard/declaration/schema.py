"""JSON Schemas of the files that people write, generated from the models, so that editors help while typing.

The models describe the declaration in force. What people write is one layer of it
(docs/reference/merging.md), so the schemas of layers differ from the models: what another
layer may state is not required, and ``null`` removes an entry of a table. Everything else is
the same. A schema knows one file only: references, sums and whatever other files say
remain the work of ``ksm-onboard check``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from ksm_onboard.connection import Connection
from ksm_onboard.declaration.catalogue import CatalogueFile
from ksm_onboard.declaration.effective import BASED_ON
from ksm_onboard.declaration.merging import EVERY
from ksm_onboard.declaration.models import (
    ADDRESS_PATTERN,
    DAY_PATTERN,
    NETWORK_PATTERN,
    MemberDeclaration,
    MemberKind,
    PlatformDeclaration,
)
from ksm_onboard.declaration.record import AllocationRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path("docs/schema")

SchemaName = Literal["member", "archetype", "profiles", "platform", "catalogue", "allocation", "connection"]

# Formats are comments in this dialect unless a reader chooses otherwise; patterns always count.
_FORMATS: dict[str, dict[str, str]] = {
    "ipv4": {"format": "ipv4", "pattern": ADDRESS_PATTERN},
    "ipv4network": {"pattern": NETWORK_PATTERN},
    "date": {"format": "date", "pattern": DAY_PATTERN},
    "path": {},
}
_ALREADY_SAID = ("title", "default")


def schemas() -> dict[SchemaName, dict[str, Any]]:
    """Every schema, by the name of its file."""
    return {
        "member": _member(),
        "archetype": _archetype(),
        "profiles": _profiles(),
        "platform": _platform(),
        "catalogue": _whole("catalogue", CatalogueFile),
        "allocation": _whole("allocation", AllocationRecord),
        "connection": _whole("connection", Connection),
    }


def schema_of(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a file that the toolkit writes, as ``model`` is."""
    schema = _plain(model)
    head = {"$schema": DIALECT, "title": name, "description": schema["description"]}
    return head | {key: value for key, value in schema.items() if key not in head}


def rendered(schema: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_file(root: Path, name: SchemaName) -> Path:
    """Where the schema ``name`` lies in the project at ``root``."""
    return root / FOLDER / f"{name}.json"


def outdated(root: Path) -> list[Path]:
    """The files in the project at ``root`` that differ from the models: missing, changed, or left over."""
    wanted = {schema_file(root, name): rendered(schema) for name, schema in schemas().items()}
    wrong = [file for file, text in wanted.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    return [*wrong, *(file for file in sorted((root / FOLDER).glob("*.json")) if file not in wanted)]


# --- the documents ------------------------------------------------------------------------


def _member() -> dict[str, Any]:
    schema = _declaration(every=False)
    # Who the member is, only its own declaration can say.
    schema["required"] = ["member"]
    schema["$defs"]["Member"]["required"] = list(schema["$defs"]["Member"]["properties"])
    return _document("member", "One member: what differs from its archetype and from the platform's defaults.", schema)


def _archetype() -> dict[str, Any]:
    schema = _declaration(every=True)
    based_on = {
        "description": "the kind whose archetype this one only changes",
        "enum": list(get_args(MemberKind)),
        "type": "string",
    }
    schema["properties"] = {BASED_ON: based_on, **schema["properties"]}
    return _document("archetype", "What members of one kind have in common.", schema)


def _profiles() -> dict[str, Any]:
    layer = _declaration(every=True)
    schema = {
        "type": "object",
        "properties": {"profiles": layer["properties"]["profiles"]},
        "additionalProperties": False,
        "required": ["profiles"],
        "$defs": {"Profile": layer["$defs"]["Profile"]},
    }
    return _document("profiles", "Workstation profiles that all kinds of members share.", schema)


def _platform() -> dict[str, Any]:
    schema = _plain(PlatformDeclaration)
    layer = _declaration(every=True)
    described = schema["properties"]["defaults"]["description"]
    definitions = {f"Default{name}": definition for name, definition in layer.pop("$defs").items()}
    renamed = json.loads(json.dumps([layer, definitions]).replace("#/$defs/", "#/$defs/Default"))
    schema["$defs"] |= {"Defaults": renamed[0]} | renamed[1]
    schema["properties"]["defaults"] = {"$ref": "#/$defs/Defaults", "description": described}
    return _document("platform", "The shared data centre.", schema)


def _whole(name: SchemaName, model: type[BaseModel]) -> dict[str, Any]:
    schema = _plain(model)
    return _document(name, schema["description"], schema)


def _document(name: SchemaName, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` with its head first and its definitions last."""
    head = {"$schema": DIALECT, "title": name, "description": description}
    body = {key: value for key, value in schema.items() if key not in (*head, "$defs")}
    return head | body | ({"$defs": schema["$defs"]} if schema.get("$defs") else {})


# --- from the models ----------------------------------------------------------------------


def _plain(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of ``model`` as it is."""
    generated = model.model_json_schema()
    result = _tidied(generated)
    assert isinstance(result, dict)  # noqa: S101 - as what went in
    return result


def _tidied(node: Any) -> Any:
    """``node`` with patterns for what pydantic only names, and tables that refuse keys of a wrong form."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: {name: _tidied(inner) for name, inner in value.items()}
        if key in ("properties", "$defs")
        else _tidied(value)
        for key, value in node.items()
        if key not in _ALREADY_SAID and key != "format"
    }
    if "properties" in node and "title" in node and "additionalProperties" not in node:
        result["additionalProperties"] = False
    result |= _FORMATS.get(str(node.get("format")), {})
    if (patterns := node.get("patternProperties")) is not None:
        ((pattern, _),) = patterns.items()
        result["propertyNames"] = {"pattern": pattern, **node.get("propertyNames", {})}
        result["additionalProperties"] = result.pop("patternProperties")[pattern]
    elif "enum" in node.get("propertyNames", {}):
        # Spelled out, so that editors propose the keys.
        entry = result.pop("additionalProperties")
        if "$ref" not in entry and "description" in node:
            entry = {**entry, "description": node["description"]}
        result["properties"] = dict.fromkeys(result.pop("propertyNames")["enum"], entry)
        result["additionalProperties"] = False
    return result


def _declaration(*, every: bool) -> dict[str, Any]:
    """One layer of a member's declaration; ``every``: its tables may have the entry ``*``."""
    schema = _plain(MemberDeclaration)
    whole = set(_in_lists(schema))
    for name, definition in [("", schema), *schema["$defs"].items()]:
        if name in whole:
            continue
        definition.pop("required", None)
        for key, value in definition["properties"].items():
            if value.get("type") == "object":
                table = _removable_entries(value)
                # Only the tables of the declaration itself are filled from an entry ``*``.
                definition["properties"][key] = _with_every(table, value) if every and name == "" else table
    return schema


def _removable_entries(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of a layer: it may be empty, and null removes an entry of a farther layer."""

    def removable(entry: Any) -> dict[str, Any]:
        return {"anyOf": [entry, {"type": "null"}]}

    result = {key: value for key, value in table.items() if key != "minProperties"}
    if "properties" in table:
        result["properties"] = {key: removable(entry) for key, entry in table["properties"].items()}
    else:
        result["additionalProperties"] = removable(table["additionalProperties"])
    return result


def _with_every(table: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with the entry ``*``, which is like the entries of ``original``."""
    fixed = original.get("properties", {})
    entry = next(iter(fixed.values())) if fixed else original["additionalProperties"]
    filling = {**entry, "description": "fills what the entries of this table leave open"}
    result = {**table, "properties": {EVERY: filling, **table.get("properties", {})}}
    if "propertyNames" in table:
        result["propertyNames"] = {"anyOf": [{"const": EVERY}, table["propertyNames"]]}
    return result


def _in_lists(node: Any) -> Iterator[str]:
    """The definitions that items of lists have: a nearer layer replaces a list whole, so its items are complete."""
    if isinstance(node, dict):
        if isinstance(item := node.get("items"), dict) and "$ref" in item:
            yield str(item["$ref"]).rpartition("/")[2]
        for value in node.values():
            yield from _in_lists(value)
    elif isinstance(node, list):
        for value in node:
            yield from _in_lists(value)
