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
        if set(written) == {"ref"}:
            name, output = written["ref"]
            return made[name].id if output == "id" else getattr(made[name], output)
        return {key: value(part) for key, part in written.items()}
    return [value(part) for part in written] if isinstance(written, list) else written


def register(entry: dict[str, Any], provider: pulumi.ProviderResource) -> None:
    kept = [output for other in resources for output in outputs_used(other["inputs"], entry["name"])]
    inputs = {key: value(part) for key, part in entry["inputs"].items()}
    # An output is only to be had for a property that is named at the beginning.
    inputs |= {output: None for output in kept if output != "id" and output not in inputs}
    options = pulumi.ResourceOptions(provider=provider, ignore_changes=entry["ignored"], delete_before_replace=True)
    made[entry["name"]] = pulumi.CustomResource(entry["token"], entry["name"], inputs, options)


def outputs_used(written: Any, name: str) -> list[str]:
    if isinstance(written, dict):
        if set(written) == {"ref"}:
            return [written["ref"][1]] if written["ref"][0] == name else []
        return [output for part in written.values() for output in outputs_used(part, name)]
    return [output for part in written for output in outputs_used(part, name)] if isinstance(written, list) else []


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
