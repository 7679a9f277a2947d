"""How a data centre is reached: the only thing that differs between the lab and the real one.

A connection file names the vCenter, the account, how guests are reached and which root
certificate they trust. It holds no secret itself, only the paths of the files that do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.addresses import loopback_address
from ksm_onboard.project import Project

CONNECTION_VARIABLE = "KSM_CONNECTION"
LAB_VARIABLE = "KSM_LAB"
_FIRST_LAB = "lab"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VCenterAccess(_Section):
    """The vCenter endpoint and the account the toolkit logs in with."""

    server: str = Field(description="host or host:port of the vCenter's HTTPS endpoint")
    user: str = Field(description="service account, for example svc-ksm-onboard@vsphere.local")
    password_file: Path = Field(description="file that holds only the password, readable only by you")
    ca_file: Path | None = Field(default=None, description="CA that signed the endpoint; default: system trust")

    def password(self) -> str:
        """The account's password. Raises NotReadyError if its file cannot be read."""
        try:
            return self.password_file.read_text().strip()
        except OSError as error:
            raise NotReadyError(
                f"cannot read the vCenter password: {self.password_file}: {error.strerror}",
                hint="write the password of the service account into that file, readable only by you (chmod 600)",
            ) from None


class GuestAccess(_Section):
    """How servers and workstations are reached by ssh."""

    user: str = Field(default="ops", description="account on every machine that the toolkit logs in with")
    private_key_file: Path = Field(description="its ssh key; the public one lies beside it as .pub")
    port: StrictInt = Field(default=22, ge=1, le=65535, description="ssh port")
    loopback_shift: StrictInt | None = Field(
        default=None,
        ge=0,
        le=128,
        description="lab only: 10.a.b.c answers at 127.(a+shift).b.c; unset: at its own address",
    )

    def reachable_at(self, declared: IPv4Address) -> IPv4Address:
        """The address at which a host with the ``declared`` address answers; see loopback_address for errors."""
        return declared if self.loopback_shift is None else loopback_address(declared, self.loopback_shift)

    def public_key(self) -> str:
        """The public half of the key, as it goes into the guests' customisation."""
        path = self.private_key_file.with_name(self.private_key_file.name + ".pub")
        try:
            return path.read_text().strip()
        except OSError as error:
            raise NotReadyError(
                f"cannot read the ssh public key: {path}: {error.strerror}",
                hint="create the pair with: ssh-keygen -t ed25519 -f <private_key_file>",
            ) from None


class WindowsAccess(_Section):
    """How Windows workstations are reached: PowerShell remoting, or ssh with PowerShell as the account's shell."""

    transport: Literal["psrp", "ssh"] = Field(default="psrp", description="psrp (PowerShell remoting over TLS), or ssh")
    user: str = Field(default="ops", description="administrator on every Windows machine that the toolkit logs in with")
    password_file: Path | None = Field(
        default=None, description="psrp: file that holds only its password, readable only by you; unset: Kerberos"
    )
    ca_file: Path | None = Field(default=None, description="psrp: CA that signed the machines' certificates")
    port: StrictInt | None = Field(default=None, ge=1, le=65535, description="unset: 5986 for psrp, 22 for ssh")

    @property
    def reached_at(self) -> int:
        """The TCP port."""
        return self.port or (5986 if self.transport == "psrp" else 22)


class IssuingAuthority(_Section):
    """An authority below the root certificate, which the toolkit may sign with."""

    certificate_file: Path = Field(description="its certificate (PEM)")
    key_file: Path = Field(description="its private key (PEM, without a passphrase), readable only by you")


class Trust(_Section):
    """What guests are told to trust."""

    root_ca_file: Path = Field(description="root certificate that guests trust")
    issuing: IssuingAuthority | None = Field(
        default=None, description="signs the certificates of the data centre's own services"
    )


class Packages(_Section):
    """Where guests fetch packages from."""

    apt_proxy: str | None = Field(
        default=None, description="for example http://proxy.example:3142; unset: fetched directly"
    )


class Connection(_Section):
    """One data centre, as seen from this checkout."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="names the state folder: .state/<name>")
    simulated: StrictBool = Field(default=False, description="true for the lab; every report says so")
    vcenter: VCenterAccess = Field(description="the vCenter and the account to log in with")
    guests: GuestAccess = Field(description="how servers and workstations are reached")
    trust: Trust = Field(description="what guests are told to trust")
    packages: Packages = Field(default=Packages(), description="where guests fetch packages from")
    windows: WindowsAccess | None = Field(
        default=None,
        description="how Windows workstations are reached; unset: none is configured. In the lab they are simulated",
    )

    def resolved(self, folder: Path) -> Self:
        """The same connection with paths made absolute, relative ones counted from ``folder``."""

        def absolute(path: Path) -> Path:
            return (folder / path.expanduser()).resolve()

        vcenter, guests, trust, windows = self.vcenter, self.guests, self.trust, self.windows
        return self.model_copy(
            update={
                "vcenter": vcenter.model_copy(
                    update={
                        "password_file": absolute(vcenter.password_file),
                        "ca_file": vcenter.ca_file and absolute(vcenter.ca_file),
                    }
                ),
                "guests": guests.model_copy(update={"private_key_file": absolute(guests.private_key_file)}),
                "trust": trust.model_copy(
                    update={
                        "root_ca_file": absolute(trust.root_ca_file),
                        "issuing": trust.issuing
                        and IssuingAuthority(
                            certificate_file=absolute(trust.issuing.certificate_file),
                            key_file=absolute(trust.issuing.key_file),
                        ),
                    }
                ),
                "windows": windows
                and windows.model_copy(
                    update={
                        "password_file": windows.password_file and absolute(windows.password_file),
                        "ca_file": windows.ca_file and absolute(windows.ca_file),
                    }
                ),
            }
        )

    def state_dir(self, project: Project) -> Path:
        """The folder that holds this data centre's Pulumi state, runs and logs."""
        return project.state / self.name


def lab_name(environment: Mapping[str, str] | None = None) -> str:
    """The lab that commands work on: ``$KSM_LAB``, otherwise ``lab``."""
    return (os.environ if environment is None else environment).get(LAB_VARIABLE) or _FIRST_LAB


def lab_shift(name: str) -> int:
    """How far the loopback addresses of a lab's hosts are moved, so that a second lab can run beside the first."""
    return 0 if name == _FIRST_LAB else 128


def connection_file(project: Project, environment: Mapping[str, str] | None = None) -> Path:
    """The connection file in force: ``$KSM_CONNECTION``, otherwise the lab's."""
    chosen = (os.environ if environment is None else environment).get(CONNECTION_VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else project.state / lab_name(environment) / "connection.yaml"


def load_connection(path: Path) -> Connection:
    """Read a connection file.

    Raises NotReadyError if it is missing, is not YAML, or has wrong or unknown entries.
    """
    try:
        data = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise NotReadyError(
            f"no data centre to talk to: {path} does not exist",
            hint=f"start the lab (ksm-onboard lab up), or set {CONNECTION_VARIABLE} to a connection file",
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotReadyError(f"cannot read the connection file {path}: {error}") from None
    try:
        return Connection.model_validate(data).resolved(path.parent)
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise NotReadyError(f"the connection file {path} is not valid:\n{lines}") from None
