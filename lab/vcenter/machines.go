package main

import (
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"
)

// complete gives a new machine what the simulator leaves empty. A client that knows
// the API's types cannot even read a machine whose fault tolerance has no state.
func complete(vm *simulator.VirtualMachine) {
	vm.Config.SwapPlacement = string(types.VirtualMachineConfigInfoSwapPlacementTypeInherit)
	for _, runtime := range []*types.VirtualMachineRuntimeInfo{&vm.Runtime, &vm.Summary.Runtime} {
		runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
	}
}

// hardwareVersion is that of every template and so of every clone; vSphere 8.0
// brought it.
const hardwareVersion = 20

// QueryConfigOption also tells the hardware version; without it the provider takes
// every update of a machine for an upgrade and fails on a running one.
func (a *additions) QueryConfigOption(ctx *simulator.Context, req *types.QueryConfigOption) soap.HasFault {
	browser := ctx.Map.Get(req.This).(*simulator.EnvironmentBrowser)
	body := browser.QueryConfigOption(req).(*methods.QueryConfigOptionBody)
	body.Res.Returnval.HardwareOptions.HwVersion = hardwareVersion
	return body
}

// ReconfigVMTask also honours what the simulator ignores: swap placement, storage
// policies, and the size of a disk that exists already and is now attached.
func (a *additions) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	vm := machine(ctx, req.This)
	task := simulator.CreateTask(vm, "reconfigVMTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		sizeAttachedDisks(ctx, &req.Spec)
		reconfigure := vm.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody).Res.Returnval
		if fault := waitFor(ctx, reconfigure); fault != nil {
			return nil, fault
		}
		if req.Spec.SwapPlacement != "" {
			vm.Config.SwapPlacement = req.Spec.SwapPlacement
		}
		a.policies.record(vm.Self, &req.Spec)
		return nil, growDiskFiles(ctx, &req.Spec)
	})
	return &methods.ReconfigVM_TaskBody{
		Res: &types.ReconfigVM_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// sizeAttachedDisks fills in the size of disks that are added with their file; the
// request need not tell it, and the simulator would take it for zero.
func sizeAttachedDisks(ctx *simulator.Context, spec *types.VirtualMachineConfigSpec) {
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		disk, ok := device.Device.(*types.VirtualDisk)
		if !ok || device.Operation != types.VirtualDeviceConfigSpecOperationAdd || device.FileOperation != "" {
			continue
		}
		if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			disk.CapacityInKB = diskCapacityKiB(ctx, backing.GetVirtualDeviceFileBackingInfo().FileName)
			disk.CapacityInBytes = disk.CapacityInKB << 10
		}
	}
}

// growDiskFiles writes the new size of grown disks to their files, so that a disk
// keeps its size when it is detached and attached again.
func growDiskFiles(ctx *simulator.Context, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	dc := ctx.Map.Any("Datacenter").Reference()
	files := ctx.Map.FileManager()
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		disk, ok := device.Device.(*types.VirtualDisk)
		if !ok || device.Operation != types.VirtualDeviceConfigSpecOperationEdit {
			continue
		}
		name := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
		descriptor, file, fault := files.DiskDescriptor(ctx, &dc, name)
		if fault != nil {
			return fault
		}
		if descriptor.Capacity() < disk.CapacityInBytes {
			descriptor.Extent[0].Size = disk.CapacityInBytes / vmdk.SectorSize
			if fault := files.SaveDiskDescriptor(ctx, descriptor, file); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// PowerOnVMTask has DRS choose the host first, as a real cluster does.
func (a *additions) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) (res soap.HasFault) {
	vm := machine(ctx, req.This)
	a.drs.place(vm.Self)
	ctx.WithLock(vm, func() { res = vm.PowerOnVMTask(ctx, req) })
	return res
}

// RebootGuest restarts the guest, which the simulator takes for done.
func (a *additions) RebootGuest(ctx *simulator.Context, req *types.RebootGuest) (res soap.HasFault) {
	vm := machine(ctx, req.This)
	ctx.WithLock(vm, func() {
		if res = vm.RebootGuest(ctx, req); res.Fault() == nil {
			a.guests.restart(ctx, vm)
		}
	})
	return res
}

func disks(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var found []*types.VirtualDisk
	for _, device := range object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		found = append(found, device.(*types.VirtualDisk))
	}
	return found
}

func machine(ctx *simulator.Context, ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}

// watcher is told by the registry of every object that comes, changes or goes.
type watcher struct {
	guests   *guests
	drs      *drs
	policies *policies
}

func (w *watcher) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabWatcher", Value: "watcher"}
}

func (w *watcher) PutObject(_ *simulator.Context, item mo.Reference) {
	switch object := item.(type) {
	case *simulator.VirtualMachine:
		if object.Config != nil {
			complete(object)
		}
	case *simulator.Task:
		// It must be a method's name or nothing; clients look the method up by it.
		if !strings.HasSuffix(object.Info.Name, "_Task") {
			object.Info.Name = ""
		}
	}
}

func (w *watcher) UpdateObject(ctx *simulator.Context, item mo.Reference, changes []types.PropertyChange) {
	if item.Reference().Type != "VirtualMachine" {
		return
	}
	for _, change := range changes {
		if change.Name == "runtime.powerState" {
			w.guests.powerChanged(ctx, machine(ctx, item.Reference()))
		}
	}
}

// RemoveObject also ends what the simulator leaves pointing at an object that is
// gone, and that a client would stumble over.
func (w *watcher) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	switch ref.Type {
	case "VirtualMachine":
		w.guests.removed(ref)
		w.policies.forget(ref.Value)
		w.drs.forget(ctx, ref)
	case "DistributedVirtualPortgroup":
		leaveHosts(ctx, ref)
	}
}
