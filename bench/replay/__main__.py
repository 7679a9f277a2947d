"""Asks the engine for resources exactly as a file lists them: what engine and provider cost without our program."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pulumi

made: dict[str, pulumi.CustomResource] = {}


def value(written: Any) -> Any:
    if isinstance(written, dict):
        if set(written) == {"id_of"}:
            return made[written["id_of"]].id
        return {key: value(part) for key, part in written.items()}
    return [value(part) for part in written] if isinstance(written, list) else written


def register(entry: dict[str, Any], provider: pulumi.ProviderResource) -> None:
    inputs = {key: value(part) for key, part in entry["inputs"].items()}
    options = pulumi.ResourceOptions(
        provider=provider,
        depends_on=[made[name] for name in entry["after"]],
        ignore_changes=entry["ignored"],
        delete_before_replace=True,
    )
    made[entry["name"]] = pulumi.CustomResource(entry["token"], entry["name"], inputs, options)


class VSphere(pulumi.ProviderResource):
    def __init__(self) -> None:
        inputs = {
            "vsphereServer": os.environ["VSPHERE_SERVER"],
            "user": os.environ["VSPHERE_USER"],
            "password": pulumi.Output.secret(Path(os.environ["BENCH_PASSWORD_FILE"]).read_text().strip()),
            "allowUnverifiedSsl": False,
        }
        super().__init__("vsphere", "vcenter", inputs, pulumi.ResourceOptions(version=os.environ["BENCH_PLUGIN"]))


resources: list[dict[str, Any]] = json.loads(Path(os.environ["BENCH_RESOURCES"]).read_text())
vsphere = VSphere()
for one in resources:
    register(one, vsphere)
