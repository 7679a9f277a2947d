"""Data disks grow in place: by vCenter's own call, since the provider would replace them.

The provider knows no growth of a ``VirtualDisk`` (its ``size`` forces a new one), and allows no size
on a disk that is attached to a VM. So the program leaves the size of a disk that exists alone, and
asks vCenter to extend the disk where the plan is ahead. Nothing ever shrinks.
"""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

from dataclasses import dataclass

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from ksm_onboard.connection import Connection
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.plan import DataDiskPlan
from ksm_onboard.vcenter import session

_KIB_PER_GIB = 1024 * 1024


@dataclass(frozen=True)
class DiskGrowth:
    """Extends attached data disks in one data centre."""

    connection: Connection

    def grow(self, server: str, moid: str, disk: DataDiskPlan) -> int:
        """Make the attached ``disk`` of the VM ``moid`` as large as planned, if it is smaller; its size in GiB then.

        The VM keeps running. Raises OnboardError if vCenter refuses, for example because the datastore is full.
        """
        with session(self.connection) as instance:
            vm = vim.VirtualMachine(moid, instance._stub)
            device = _attached(vm, disk)
            if device is None:
                raise OnboardError(
                    f"{server} has no disk at unit {disk.unit_number}; the data disk {disk.name} cannot grow",
                    hint=f"look with: ksm-onboard verify; then run again: ksm-onboard up (disk [{disk.datastore}] "
                    f"{disk.vmdk})",
                )
            if device.capacityInKB < disk.size_gib * _KIB_PER_GIB:
                _extend(vm, device, server, disk)
            return max(disk.size_gib, device.capacityInKB // _KIB_PER_GIB)


def _attached(vm: vim.VirtualMachine, disk: DataDiskPlan) -> vim.vm.device.VirtualDisk | None:
    """The disk at the planned unit of the first controller, if it is the planned file."""
    config = vm.config
    for device in config.hardware.device if config else ():
        if isinstance(device, vim.vm.device.VirtualDisk) and device.unitNumber == disk.unit_number:
            path = getattr(device.backing, "fileName", "")
            if path == f"[{disk.datastore}] {disk.vmdk}":
                return device
    return None


def _extend(vm: vim.VirtualMachine, device: vim.vm.device.VirtualDisk, server: str, disk: DataDiskPlan) -> None:
    device.capacityInKB = disk.size_gib * _KIB_PER_GIB
    device.capacityInBytes = disk.size_gib * _KIB_PER_GIB * 1024  # type: ignore[assignment]
    change = vim.vm.device.VirtualDeviceSpec(operation=vim.vm.device.VirtualDeviceSpec.Operation.edit, device=device)
    try:
        WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    except vmodl.MethodFault as fault:
        raise OnboardError(
            f"vCenter does not extend the data disk {disk.name} of {server} to {disk.size_gib} GiB: {_said(fault)}",
            hint=f"[{disk.datastore}] {disk.vmdk}: is there room on the datastore, and does the VM have no snapshot?",
        ) from None


def _said(fault: vmodl.MethodFault) -> str:
    return str(getattr(fault, "msg", "") or type(fault).__name__)
