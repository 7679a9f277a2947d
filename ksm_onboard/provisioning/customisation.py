"""The first boot of a server: cloud-init's metadata and userdata, from templates/cloud-init.

They reach the guest through VMware's guestinfo variables (cloud-init's DataSourceVMware).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from ksm_onboard.planning.plan import ServerPlan, SharedServerPlan, WorkstationPlan


@dataclass(frozen=True)
class Customisation:
    """Renders what a server is told at its first boot.

    ``user`` is the account that configuring logs in with, ``public_key`` its ssh key.
    """

    templates: Path
    user: str
    public_key: str

    def metadata(self, server: ServerPlan) -> str:
        """Name and network of the server, as YAML."""
        return self._render("metadata.yaml.j2", server)

    def userdata(self, server: ServerPlan | WorkstationPlan | SharedServerPlan) -> str:
        """Account and data disks of the machine, as #cloud-config."""
        return self._render("userdata.yaml.j2", server)

    def guestinfo(self, server: ServerPlan) -> dict[str, str]:
        """The VM's extra configuration that carries both."""
        return {
            "guestinfo.metadata": _base64(self.metadata(server)),
            "guestinfo.metadata.encoding": "base64",
            "guestinfo.userdata": _base64(self.userdata(server)),
            "guestinfo.userdata.encoding": "base64",
        }

    def _render(self, name: str, server: ServerPlan | WorkstationPlan | SharedServerPlan) -> str:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self.templates / "cloud-init"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - YAML, not HTML; every value passes through the tojson filter
        )
        return environment.get_template(name).render(server=server, user=self.user, public_key=self.public_key)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
