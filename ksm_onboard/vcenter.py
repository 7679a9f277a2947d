"""The second door to vCenter: VMware's own bindings, next to Pulumi and never through its state.

Reading happens in bulk: one container view and one property query per object type, however
many objects there are. Tags are not part of that API; they are read through REST, at the
``/rest`` paths that the Terraform provider uses as well, because vSphere 7 and 8 both serve them.
"""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from ksm_onboard.connection import Connection, VCenterAccess
from ksm_onboard.errors import NotReadyError

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
HOST_KEY_SETTING = "guestinfo.ssh.host_key"
_OBJECTS_PER_PAGE = 500
_OBJECTS_PER_TAG_QUERY = 200  # vCenter refuses tag queries for more than 2000 objects; stay well below


# --- sessions -----------------------------------------------------------------------------


@contextlib.contextmanager
def session(connection: Connection) -> Iterator[vim.ServiceInstance]:
    """A logged-in vCenter session that is logged out again, whatever happens.

    Raises NotReadyError if the endpoint is unreachable, shows a certificate that the
    connection's CA did not sign, refuses the login or a privilege, or falls silent.
    """
    access = connection.vcenter
    host, port = _endpoint(access)
    trust = _tls_context(access)
    # pyVmomi's own first request has no timeout: find a silent or foreign endpoint before it does.
    _probe(access)
    with _explained(access):
        instance = SmartConnect(
            host=host,
            port=port,
            user=access.user,
            pwd=access.password(),
            sslContext=trust,
            httpConnectionTimeout=READ_TIMEOUT_SECONDS,
        )
        try:
            yield cast(vim.ServiceInstance, instance)
        finally:
            Disconnect(instance)


def _endpoint(access: VCenterAccess) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{access.server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise NotReadyError(
            f"vcenter.server is not an endpoint: {access.server!r}",
            hint="write it as host or host:port, for example vcenter.example.org",
        )
    return host, port or 443


def _tls_context(access: VCenterAccess) -> ssl.SSLContext:
    if access.ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(access.ca_file))
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotReadyError(
            f"cannot use the CA certificate of vCenter: {access.ca_file}: {reason}",
            hint="vcenter.ca_file must be a PEM file with the CA that signed vCenter's certificate",
        ) from None


def _web(access: VCenterAccess) -> requests.Session:
    web = requests.Session()
    web.verify = str(access.ca_file) if access.ca_file else True
    # pyVmomi knows nothing of proxy variables and of $REQUESTS_CA_BUNDLE; both doors must lead to the same endpoint.
    web.trust_env = False
    return web


def _probe(access: VCenterAccess) -> None:
    url = f"https://{access.server}/sdk/vimServiceVersions.xml"
    with _explained(access), _web(access) as web:
        answer = web.get(url, timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
    if answer.status_code != requests.codes.ok or "<namespace" not in answer.text:
        raise NotReadyError(
            f"{access.server} answers, but not as a vCenter (HTTP {answer.status_code} for {url})",
            hint="check vcenter.server in the connection file; a vCenter that is starting needs some minutes",
        )


@contextlib.contextmanager
def _explained(access: VCenterAccess) -> Iterator[None]:
    """Turns what can go wrong on the way to vCenter into one sentence for a person."""
    where = f"vCenter {access.server}"
    try:
        yield
    except vim.fault.InvalidLogin:
        raise NotReadyError(
            f"{where} refuses the login of {access.user}",
            hint=f"check the account and the password in {access.password_file}",
        ) from None
    except vim.fault.NoPermission as fault:
        raise NotReadyError(
            f"{where}: {access.user} lacks the privilege {fault.privilegeId} on {fault.object}",
            hint="give the account's role that privilege, then run the command again",
        ) from None
    except vim.fault.NotAuthenticated:
        raise NotReadyError(f"{where} ended the session of {access.user}", hint="run the command again") from None
    except (requests.exceptions.SSLError, ssl.SSLError) as error:
        raise NotReadyError(
            f"{where} shows a certificate that is not trusted: {_innermost(error)}",
            hint=f"vcenter.ca_file ({access.ca_file or 'not set: the system trust'}) must hold the CA that signed it,"
            " and vcenter.server the name that it was issued for",
        ) from None
    except (requests.exceptions.Timeout, TimeoutError):
        raise NotReadyError(
            f"{where} does not answer in time", hint="check the network path and whether the endpoint is overloaded"
        ) from None
    except (requests.exceptions.RequestException, ConnectionError, http.client.HTTPException) as error:
        raise NotReadyError(
            f"{where} cannot be reached: {_innermost(error)}",
            hint="check vcenter.server in the connection file and whether it is up (for the lab: ksm-onboard lab up)",
        ) from None
    except vim.fault.HostConnectFault as fault:
        raise NotReadyError(
            f"{where} cannot be used: {getattr(fault, 'msg', None) or fault}", hint="check vcenter.server"
        ) from None


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of a chain of wrapped errors, without Python's packaging."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in seen.args if isinstance(a, BaseException)), None)
        if inner is None:
            break
        seen = inner
    if isinstance(seen, ssl.SSLCertVerificationError):
        return seen.verify_message
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen).rsplit(": ", 1)[-1]


# --- reading in bulk ----------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """One managed object and the properties that were asked for; unset ones are absent."""

    ref: vim.ManagedEntity
    values: Mapping[str, Any]

    def get(self, path: str, default: Any = None) -> Any:
        return self.values.get(path, default)


def collect(
    instance: vim.ServiceInstance,
    kind: type[vim.ManagedEntity],
    properties: Iterable[str],
    root: vim.ManagedEntity | None = None,
) -> list[Found]:
    """All objects of one ``kind`` below ``root`` (default: everywhere), with ``properties`` (paths).

    Raises NotReadyError if the account may not read one of them: an audit that overlooks
    what it may not see would be worse than none.
    """
    content = instance.RetrieveContent()
    assert content.viewManager is not None  # every vCenter has one; it is optional only on bare ESXi  # noqa: S101
    view = content.viewManager.CreateContainerView(root or content.rootFolder, [kind], True)
    try:
        query = vmodl.query.PropertyCollector
        spec = query.FilterSpec(
            objectSet=[
                query.ObjectSpec(
                    obj=view,
                    skip=True,
                    selectSet=[query.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)],
                )
            ],
            propSet=[query.PropertySpec(type=kind, pathSet=sorted(properties), all=False)],
        )
        collector = content.propertyCollector
        page = collector.RetrievePropertiesEx([spec], query.RetrieveOptions(maxObjects=_OBJECTS_PER_PAGE))
        found: list[Found] = []
        while page is not None:
            found += [_found(item) for item in page.objects]
            page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        return found
    finally:
        view.Destroy()


def collect_named(
    instance: vim.ServiceInstance,
    kind: type[vim.ManagedEntity],
    name: str,
    properties: Iterable[str] = (),
    root: vim.ManagedEntity | None = None,
) -> Found:
    """The object of one ``kind`` and ``name`` below ``root``. Raises NotReadyError if there is none."""
    for found in collect(instance, kind, ("name", *properties), root):
        if found.get("name") == name:
            return found
    raise NotReadyError(
        f"vCenter has no {kind.__name__.rsplit('.', 1)[-1]} named {name}",
        hint="compare the names in the platform's declaration (under vcenter:) with those in vCenter; "
        "the connection file names the vCenter",
    )


def _found(item: vmodl.query.PropertyCollector.ObjectContent) -> Found:
    for missing in item.missingSet or ():
        fault = missing.fault
        if isinstance(fault, vim.fault.NoPermission):
            raise NotReadyError(
                f"the vCenter account may not read {missing.path} of {item.obj}: it lacks {fault.privilegeId}",
                hint="give the account's role that privilege (System.Read), then run the command again",
            )
    return Found(cast(vim.ManagedEntity, item.obj), {entry.name: entry.val for entry in item.propSet or ()})


def moid(ref: vim.ManagedEntity) -> str:
    """The managed object id, for example ``vm-42``. pyVmomi has no public accessor."""
    return cast(str, ref._moId)


def folder_paths(instance: vim.ServiceInstance) -> dict[str, str]:
    """Managed object id → inventory path of every VM folder, relative to its datacenter's root VM folder ("")."""
    folders = {moid(f.ref): f for f in collect(instance, vim.Folder, ["name", "parent", "childType"])}

    def path(key: str) -> str | None:
        folder = folders[key]
        parent = folder.get("parent")
        if parent is None:
            return None
        if isinstance(parent, vim.Datacenter):
            return "" if "VirtualMachine" in {_type_name(t) for t in folder.get("childType", ())} else None
        above = path(moid(parent)) if moid(parent) in folders else None
        return None if above is None else f"{above}/{folder.get('name')}".lstrip("/")

    return {key: found for key in folders if (found := path(key)) is not None}


def _type_name(kind: object) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)).rsplit(".", 1)[-1]


def is_below(path: str, folder: str) -> bool:
    """Whether an inventory path is ``folder`` itself or lies in it; everything lies in the root folder ("")."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def settings(values: Iterable[vim.option.OptionValue] | None) -> dict[str, str]:
    """A VM's extra configuration as plain text."""
    return {option.key: str(option.value) for option in values or ()}


def host_keys(instance: vim.ServiceInstance, folder: str) -> dict[str, str]:
    """VM name → ssh host key of every VM in ``folder`` (a name or an inventory path) that has published one.

    The guest writes the key into its VM's ``guestinfo`` through VMware Tools; read here, it
    comes over vCenter's verified TLS connection, so ssh never has to trust on first use.
    """
    paths = folder_paths(instance)
    vms = collect(instance, vim.VirtualMachine, ["name", "parent", "config.extraConfig"])
    return {
        vm.get("name"): key
        for vm in sorted(vms, key=lambda found: str(found.get("name")))
        if vm.get("parent") is not None
        and is_below(paths.get(moid(vm.get("parent")), ""), folder)
        and (key := settings(vm.get("config.extraConfig")).get(HOST_KEY_SETTING))
    }


# --- tags, through REST -------------------------------------------------------------------


def attached_tags(connection: Connection, refs: Iterable[vim.ManagedEntity]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Managed object id → category → names of the attached tags, sorted. Objects without tags are absent.

    Raises NotReadyError like ``session``.
    """
    objects = [{"type": _wire_type(ref), "id": moid(ref)} for ref in refs]
    if not objects:
        return {}
    with rest_session(connection.vcenter) as rest:
        attached: dict[str, list[str]] = {}
        for start in range(0, len(objects), _OBJECTS_PER_TAG_QUERY):
            answer = rest.post(
                "com/vmware/cis/tagging/tag-association?~action=list-attached-tags-on-objects",
                {"object_ids": objects[start : start + _OBJECTS_PER_TAG_QUERY]},
            )
            attached |= {entry["object_id"]["id"]: entry["tag_ids"] or [] for entry in answer or ()}
        tags = {
            tag: rest.get(f"com/vmware/cis/tagging/tag/id:{tag}")
            for tag in sorted({tag for tags in attached.values() for tag in tags})
        }
        categories = {
            key: rest.get(f"com/vmware/cis/tagging/category/id:{key}")["name"]
            for key in sorted({tag["category_id"] for tag in tags.values()})
        }
    result: dict[str, dict[str, tuple[str, ...]]] = {}
    for object_id, tag_ids in attached.items():
        for tag_id in tag_ids:
            category = categories[tags[tag_id]["category_id"]]
            names = result.setdefault(object_id, {})
            names[category] = tuple(sorted((*names.get(category, ()), tags[tag_id]["name"])))
    return result


def _wire_type(ref: vim.ManagedEntity) -> str:
    return _type_name(type(ref)).rsplit(".", 1)[-1]


@dataclass(frozen=True)
class RestSession:
    """vCenter's REST API after a login."""

    web: requests.Session
    root: str

    def get(self, path: str) -> Any:
        return self._value(self.web.get(self.root + path, timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._value(
            self.web.post(self.root + path, json=body, timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
        )

    @staticmethod
    def _value(answer: requests.Response) -> Any:
        answer.raise_for_status()
        return answer.json().get("value")


@contextlib.contextmanager
def rest_session(access: VCenterAccess) -> Iterator[RestSession]:
    """Logs in, and out again at the end. Raises NotReadyError like ``session``."""
    root = f"https://{access.server}/rest/"
    with _explained(access), _web(access) as web:
        login = web.post(
            f"{root}com/vmware/cis/session",
            auth=(access.user, access.password()),
            timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
        )
        if login.status_code == requests.codes.unauthorized:
            raise NotReadyError(
                f"vCenter {access.server} refuses the login of {access.user} at its REST API",
                hint=f"check the account and the password in {access.password_file}",
            )
        login.raise_for_status()
        web.headers["vmware-api-session-id"] = str(login.json()["value"])
        try:
            yield RestSession(web, root)
        finally:
            with contextlib.suppress(requests.exceptions.RequestException):
                web.delete(f"{root}com/vmware/cis/session", timeout=CONNECT_TIMEOUT_SECONDS)
