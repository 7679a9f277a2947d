"""A second door to the lab's vCenter: VMware's own Python bindings and the REST API for tags."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import requests
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.lab.vcenter.conftest import VCenter

_PATIENCE = 20.0


class Door:
    """A session that reads what is really there."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    def __enter__(self) -> Self:
        trust = ssl.create_default_context(cafile=str(self._vcenter.ca_file))
        self._service = SmartConnect(
            host=self._vcenter.host,
            port=self._vcenter.port,
            user=self._vcenter.user,
            pwd=self._vcenter.password,
            sslContext=trust,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Disconnect(self._service)

    def _all(self, kind: type) -> list[Any]:
        content = self._service.RetrieveContent()
        return list(content.viewManager.CreateContainerView(content.rootFolder, [kind], True).view)

    def machines(self) -> dict[str, Any]:
        return {vm.name: vm for vm in self._all(vim.VirtualMachine)}

    def datastores(self) -> dict[str, Any]:
        return {store.name: store for store in self._all(vim.Datastore)}

    def cluster(self) -> Any:
        (cluster,) = self._all(vim.ClusterComputeResource)
        return cluster

    def datacenter(self) -> Any:
        (datacenter,) = self._all(vim.Datacenter)
        return datacenter

    def permissions(self, managed: Any) -> dict[str, str]:
        """Who has which role directly on an object."""
        manager = self._service.RetrieveContent().authorizationManager
        roles = {role.roleId: role.name for role in manager.roleList}
        entries = manager.RetrieveEntityPermissions(managed, False)
        return {entry.principal.lower(): roles[entry.roleId] for entry in entries}

    @staticmethod
    def disks(machine: Any) -> list[Any]:
        devices = [d for d in machine.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
        return sorted(devices, key=lambda disk: disk.unitNumber)

    def files(self, folder: str) -> dict[str, int]:
        """Disks in a folder of the datastore, with their capacity in GiB."""
        (store,) = self._all(vim.Datastore)
        spec = vim.host.DatastoreBrowser.SearchSpec(
            query=[vim.host.DatastoreBrowser.VmDiskQuery()],
            details=vim.host.DatastoreBrowser.FileInfo.Details(
                fileType=True, fileSize=False, modification=False, fileOwner=False
            ),
            matchPattern=["*"],
        )
        task = store.browser.SearchDatastore_Task(datastorePath=folder, searchSpec=spec)
        WaitForTask(task, si=self._service)
        return {file.path: file.capacityKb >> 20 for file in task.info.result.file}

    def tags_of(self, managed: Any) -> set[str]:
        """Names of the tags on an object, as the REST API tells them."""
        base = f"https://{self._vcenter.server}/rest/com/vmware/cis"
        with requests.Session() as session:
            # Else a CA bundle from the environment would win.
            session.trust_env = False
            session.verify = str(self._vcenter.ca_file)
            login = session.post(f"{base}/session", auth=(self._vcenter.user, self._vcenter.password), timeout=10)
            login.raise_for_status()
            session.headers["vmware-api-session-id"] = login.json()["value"]
            kind, identity = type(managed).__name__.rsplit(".", 1)[-1], managed._moId
            attached = session.post(
                f"{base}/tagging/tag-association?~action=list-attached-tags",
                json={"object_id": {"type": kind, "id": identity}},
                timeout=10,
            )
            attached.raise_for_status()
            tags = [session.get(f"{base}/tagging/tag/id:{tag}", timeout=10).json() for tag in attached.json()["value"]]
        return {tag["value"]["name"] for tag in tags}

    def set_admission_control(self, percent: int | None) -> None:
        """What a person does by hand: another share that is kept, or none."""
        das = vim.cluster.DasConfigInfo(admissionControlEnabled=percent is not None)
        if percent is not None:
            das.admissionControlPolicy = vim.cluster.FailoverResourcesAdmissionControlPolicy(
                cpuFailoverResourcesPercent=percent,
                memoryFailoverResourcesPercent=percent,
                failoverLevel=1,
                autoComputePercentages=False,
            )
        self._reconfigure(vim.cluster.ConfigSpecEx(dasConfig=das))

    def set_power_management(self, enabled: bool) -> None:
        """Another setting of the cluster, which the platform says nothing about."""
        self._reconfigure(vim.cluster.ConfigSpecEx(dpmConfig=vim.cluster.DpmConfigInfo(enabled=enabled)))

    def _reconfigure(self, spec: Any) -> None:
        WaitForTask(self.cluster().ReconfigureComputeResource_Task(spec, True), si=self._service)

    def delete(self, machine: Any) -> None:
        """What a person does by hand, past the engine."""
        WaitForTask(machine.PowerOffVM_Task(), si=self._service)
        WaitForTask(machine.Destroy_Task(), si=self._service)

    @staticmethod
    def eventually(condition: Callable[[], bool]) -> None:
        """Waits for something that vCenter does on its own time."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < end, "this did not happen"
            time.sleep(0.1)
