package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
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
		if fault := a.drs.reach(ctx, vm, namedDatastores(&req.Spec)); fault != nil {
			return nil, fault
		}
		release, fault := a.space.promise(ctx, diskSpace(ctx, vm, &req.Spec))
		if fault != nil {
			return nil, fault
		}
		defer release()
		reconfigure := vm.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody).Res.Returnval
		if fault := waitFor(ctx, reconfigure); fault != nil {
			return nil, fault
		}
		if req.Spec.SwapPlacement != "" {
			vm.Config.SwapPlacement = req.Spec.SwapPlacement
		}
		a.policies.record(vm.Self, &req.Spec)
		settleOnDatastores(ctx, vm)
		return nil, growDiskFiles(ctx, &req.Spec)
	})
	return &methods.ReconfigVM_TaskBody{
		Res: &types.ReconfigVM_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// RelocateVMTask keeps a machine that only changes its host on all datastores that it has
// disks on. The simulator takes the one that the request names for the only one, and would
// not miss the others.
func (a *additions) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	vm := machine(ctx, req.This)
	task := simulator.CreateTask(vm, "relocateVMTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		relocate := vm.RelocateVMTask(ctx, req).(*methods.RelocateVM_TaskBody)
		if relocate.Fault_ != nil {
			return nil, relocate.Fault_.VimFault().(types.BaseMethodFault)
		}
		if fault := waitFor(ctx, relocate.Res.Returnval); fault != nil {
			return nil, fault
		}
		home := named(ctx, "Datastore", datastoreOf(vm.Config.Files.VmPathName))
		if store := req.Spec.Datastore; store == nil || home != nil && *store == *home {
			settleOnDatastores(ctx, vm)
		}
		return nil, nil
	})
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task.Run(ctx)}}
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

// CloneVMTask puts the clone on a host that sees its datastore and refuses it if it
// does not fit there. The simulator leaves it on the template's host.
func (a *additions) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	vm := machine(ctx, req.This)
	location := &req.Spec.Location
	var wanted map[string]int64
	var host types.ManagedObjectReference
	ctx.WithLock(vm, func() { wanted, host = cloneSpace(ctx, vm, location), *vm.Runtime.Host })
	if location.Host != nil {
		host = *location.Host
	}
	host, fault := a.drs.hostFor(ctx, host, slices.Collect(maps.Keys(wanted)))
	if fault != nil {
		return &methods.CloneVM_TaskBody{Fault_: simulator.Fault(faultMessage(fault), fault)}
	}
	location.Host = &host
	if req.Spec.Config == nil {
		req.Spec.Config = &types.VirtualMachineConfigSpec{}
	}
	newIdentity(req.Spec.Config)
	task := a.withSpace(ctx, vm, "cloneVmTask", wanted, func() types.ManagedObjectReference {
		return vm.CloneVMTask(ctx, req).(*methods.CloneVM_TaskBody).Res.Returnval
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task}}
}

// newIdentity gives every machine UUIDs of its own, as vCenter does. The simulator makes
// them from the machine's path: one that was deleted and made again would be the same,
// and a client would not notice.
func newIdentity(config *types.VirtualMachineConfigSpec) {
	if config.Uuid == "" {
		config.Uuid = uuid.NewString()
	}
	if config.InstanceUuid == "" {
		config.InstanceUuid = uuid.NewString()
	}
}

// cloneSpace is what a clone takes: all disks of the original, on the one datastore
// that the clone goes to. (The simulator does not spread a clone's disks.)
func cloneSpace(ctx *simulator.Context, vm *simulator.VirtualMachine, location *types.VirtualMachineRelocateSpec) map[string]int64 {
	name := datastoreOf(vm.Config.Files.VmPathName)
	if location.Datastore != nil {
		if ds, ok := ctx.Map.Get(*location.Datastore).(*simulator.Datastore); ok {
			name = ds.Name
		}
	}
	wanted := map[string]int64{name: 0}
	for _, disk := range disks(vm) {
		wanted[name] += disk.CapacityInBytes
	}
	return wanted
}

// CreateVMTask puts a new machine on a host that sees its datastores and refuses it
// if it does not fit there.
func (a *additions) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	folder := ctx.Map.Get(req.This).(*simulator.Folder)
	names := namedDatastores(&req.Config)
	if req.Config.Files != nil {
		names = append(names, datastoreOf(req.Config.Files.VmPathName))
	}
	var preferred types.ManagedObjectReference
	if req.Host != nil {
		preferred = *req.Host
	}
	host, fault := a.drs.hostFor(ctx, preferred, names)
	if fault != nil {
		return &methods.CreateVM_TaskBody{Fault_: simulator.Fault(faultMessage(fault), fault)}
	}
	req.Host = &host
	newIdentity(&req.Config)
	task := a.withSpace(ctx, folder, "createVmTask", diskSpace(ctx, nil, &req.Config), func() types.ManagedObjectReference {
		return folder.CreateVMTask(ctx, req).(*methods.CreateVM_TaskBody).Res.Returnval
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task}}
}

// namedDatastores are those that a configuration puts disks on or attaches them from.
func namedDatastores(spec *types.VirtualMachineConfigSpec) []string {
	var names []string
	for _, change := range spec.DeviceChange {
		disk, ok := change.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			if name := datastoreOf(backing.GetVirtualDeviceFileBackingInfo().FileName); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// settleOnDatastores notes which datastores a machine lies on after its disks have
// changed; the simulator only ever adds, and only on the machine's side. The caller
// holds the machine's lock.
func settleOnDatastores(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	names := []string{datastoreOf(vm.Config.Files.VmPathName)}
	for _, disk := range disks(vm) {
		names = append(names, diskDatastore(ctx, disk, nil, vm))
	}
	var refs []types.ManagedObjectReference
	for _, entity := range ctx.Map.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		if slices.Contains(names, ds.Name) {
			refs = append(refs, ds.Self)
			ctx.Map.AddReference(ctx, ds, &ds.Vm, vm.Self)
		} else {
			ctx.Map.RemoveReference(ctx, ds, &ds.Vm, vm.Self)
		}
	}
	slices.SortFunc(refs, func(a, b types.ManagedObjectReference) int { return strings.Compare(a.Value, b.Value) })
	if !slices.Equal(refs, vm.Datastore) {
		ctx.Update(vm, []types.PropertyChange{{Name: "datastore", Val: refs}})
	}
}

// PowerOnVMTask has DRS choose the host first, as a real cluster does, if admission
// control lets one more machine start.
func (a *additions) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) (res soap.HasFault) {
	vm := machine(ctx, req.This)
	fault := a.drs.admit(ctx, vm)
	if fault == nil {
		fault = a.drs.place(vm.Self)
	}
	if fault != nil {
		return &methods.PowerOnVM_TaskBody{Fault_: simulator.Fault(faultMessage(fault), fault)}
	}
	a.losses.ha.forget(vm.Self)
	ctx.WithLock(vm, func() {
		reconnect(ctx, vm)
		res = vm.PowerOnVMTask(ctx, req)
	})
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

// faultMessage is what a fault says for itself, or else its type.
func faultMessage(fault types.BaseMethodFault) string {
	var parts []string
	for _, message := range fault.GetMethodFault().FaultMessage {
		parts = append(parts, message.Message)
	}
	if len(parts) > 0 {
		return strings.Join(parts, " ")
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", fault), "*types.")
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
	ha       *ha
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
	if task, ok := item.(*mo.Task); ok && task.Info.Error != nil {
		// The simulator says no more than the fault's type; clients show this to people.
		task.Info.Error.LocalizedMessage = faultMessage(task.Info.Error.Fault)
	}
	if item.Reference().Type != "VirtualMachine" {
		return
	}
	vm := machine(ctx, item.Reference())
	if vm == nil {
		return
	}
	w.drs.noted(vm)
	for _, change := range changes {
		if change.Name == "runtime.powerState" {
			w.guests.powerChanged(ctx, vm)
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
		w.ha.forget(ref)
	case "DistributedVirtualPortgroup":
		leaveHosts(ctx, ref)
	}
}
