package main

import (
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"
)

// space keeps the accounts of the datastores: how large they are, and how much of
// them is given out.
//
// Given out is the declared size of every disk on a datastore, attached or not. A
// real datastore with thin disks counts what they really hold; counting their full
// size means that no disk can ever fail to grow into what it was promised. Disks are
// counted where they are, in the datastore's folder, so no way of making or deleting
// one can be forgotten.
type space struct {
	registry *simulator.Registry
	array    *array

	mutex    sync.Mutex
	disks    map[string]diskFile
	promised map[string]int64 // by datastore, for work under way
}

// diskFile is a descriptor's size as of its last change.
type diskFile struct {
	stamp    time.Time
	capacity int64
}

func newSpace(registry *simulator.Registry, array *array) *space {
	return &space{registry: registry, array: array, disks: map[string]diskFile{}, promised: map[string]int64{}}
}

// refresh brings the accounts of all datastores and of their clusters up to date.
func (s *space) refresh(ctx *simulator.Context) {
	if _, err := s.array.changed(); err != nil {
		log.Printf("the storage array's file is not understood, what it said before stays in force: %v", err)
	}
	for _, entity := range s.registry.All("Datastore") {
		s.refreshDatastore(ctx, entity.(*simulator.Datastore))
	}
	for _, entity := range s.registry.All("StoragePod") {
		s.refreshPod(ctx, entity.(*simulator.StoragePod))
	}
}

func (s *space) refreshDatastore(ctx *simulator.Context, ds *simulator.Datastore) {
	var directory string
	var capacity int64
	ctx.WithLock(ds, func() { directory, capacity = ds.Info.GetDatastoreInfo().Url, s.capacity(ds) })
	free := max(0, capacity-s.provisioned(directory))
	ctx.WithLock(ds, func() {
		if ds.Summary.Capacity == capacity && ds.Summary.FreeSpace == free {
			return
		}
		ctx.Update(ds, []types.PropertyChange{
			{Name: "summary.capacity", Val: capacity},
			{Name: "summary.freeSpace", Val: free},
			{Name: "info", Val: resized(ds.Info, capacity, free)},
		})
	})
}

// capacity of a datastore on the array is what its export has now; that of a volume
// stays as it was made.
func (s *space) capacity(ds *simulator.Datastore) int64 {
	info, ok := ds.Info.(*types.NasDatastoreInfo)
	if !ok {
		return ds.Summary.Capacity
	}
	if e, ok := s.array.find(info.Nas.RemoteHostNames, info.Nas.RemotePath); ok {
		return e.CapacityGiB * gibibyte
	}
	return ds.Summary.Capacity
}

func resized(info types.BaseDatastoreInfo, capacity, free int64) types.BaseDatastoreInfo {
	now := time.Now()
	update := func(base *types.DatastoreInfo) {
		base.FreeSpace, base.MaxFileSize, base.MaxMemoryFileSize, base.Timestamp = free, capacity, capacity, &now
	}
	switch kind := info.(type) {
	case *types.NasDatastoreInfo:
		changed, volume := *kind, *kind.Nas
		volume.Capacity = capacity
		changed.Nas = &volume
		update(&changed.DatastoreInfo)
		return &changed
	case *types.VmfsDatastoreInfo:
		changed := *kind
		update(&changed.DatastoreInfo)
		return &changed
	}
	return info
}

func (s *space) refreshPod(ctx *simulator.Context, pod *simulator.StoragePod) {
	var name string
	var members []types.ManagedObjectReference
	ctx.WithLock(pod, func() { name, members = pod.Name, pod.ChildEntity })
	summary := types.StoragePodSummary{Name: name}
	for _, ref := range members {
		if ds, ok := ctx.Map.Get(ref).(*simulator.Datastore); ok {
			ctx.WithLock(ds, func() {
				summary.Capacity += ds.Summary.Capacity
				summary.FreeSpace += ds.Summary.FreeSpace
			})
		}
	}
	ctx.WithLock(pod, func() {
		if pod.Summary == nil || *pod.Summary != summary {
			ctx.Update(pod, []types.PropertyChange{{Name: "summary", Val: &summary}})
		}
	})
}

// provisioned adds up the disks below a directory.
func (s *space) provisioned(directory string) int64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var total int64
	_ = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".vmdk") || strings.HasSuffix(path, "-flat.vmdk") {
			return nil // what vanishes while we look takes no space
		}
		total += s.diskCapacity(path, entry)
		return nil
	})
	return total
}

func (s *space) diskCapacity(path string, entry fs.DirEntry) int64 {
	info, err := entry.Info()
	if err != nil {
		return 0
	}
	if known, ok := s.disks[path]; ok && known.stamp.Equal(info.ModTime()) {
		return known.capacity
	}
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	descriptor, err := vmdk.ParseDescriptor(file)
	if err != nil {
		return 0 // being written at this moment
	}
	s.disks[path] = diskFile{info.ModTime(), descriptor.Capacity()}
	return descriptor.Capacity()
}

// promise sets space aside on datastores, by their names, for work that is about to
// begin; release gives it back when the work is done and its disks are counted.
func (s *space) promise(ctx *simulator.Context, wanted map[string]int64) (release func(), fault types.BaseMethodFault) {
	s.refresh(ctx)

	free := map[string]int64{}
	for _, entity := range s.registry.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		ctx.WithLock(ds, func() { free[ds.Name] = ds.Summary.FreeSpace })
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for name, bytes := range wanted {
		left, known := free[name]
		if left -= s.promised[name]; known && bytes > left {
			return nil, noDiskSpace(name, bytes, left)
		}
	}
	for name, bytes := range wanted {
		s.promised[name] += bytes
	}
	return func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		for name, bytes := range wanted {
			s.promised[name] -= bytes
		}
	}, nil
}

func noDiskSpace(datastore string, wanted, free int64) types.BaseMethodFault {
	fault := &types.NoDiskSpace{Datastore: datastore}
	fault.FaultMessage = said("com.vmware.vim.vpxd.NoDiskSpace", fmt.Sprintf(
		"Insufficient disk space on datastore '%s': %.1f GiB wanted, %.1f GiB free.",
		datastore, float64(wanted)/float64(gibibyte), float64(max(0, free))/float64(gibibyte)))
	return fault
}

// said is a fault's own message; without one clients show no more than its type.
func said(key, message string) []types.LocalizableMessage {
	return []types.LocalizableMessage{{Key: key, Message: message}}
}

// diskSpace is what a machine's configuration takes from each datastore: new disks
// their size, existing ones what they grow by.
func diskSpace(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) map[string]int64 {
	wanted := map[string]int64{}
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		disk, ok := device.Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		size := max(disk.CapacityInBytes, disk.CapacityInKB<<10)
		switch {
		case device.Operation == types.VirtualDeviceConfigSpecOperationAdd && device.FileOperation != "":
			wanted[diskDatastore(ctx, disk, spec, vm)] += size
		case device.Operation == types.VirtualDeviceConfigSpecOperationEdit && vm != nil:
			for _, present := range disks(vm) {
				if present.Key == disk.Key {
					wanted[diskDatastore(ctx, present, spec, vm)] += max(0, size-present.CapacityInBytes)
				}
			}
		}
	}
	return wanted
}

// diskDatastore is the name of the datastore that a disk lies on or shall lie on:
// where its file says, or beside its machine.
func diskDatastore(ctx *simulator.Context, disk *types.VirtualDisk, spec *types.VirtualMachineConfigSpec, vm *simulator.VirtualMachine) string {
	if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		info := backing.GetVirtualDeviceFileBackingInfo()
		if name := datastoreOf(info.FileName); name != "" {
			return name
		}
		if info.Datastore != nil {
			if ds, ok := ctx.Map.Get(*info.Datastore).(*simulator.Datastore); ok {
				return ds.Name
			}
		}
	}
	switch {
	case spec != nil && spec.Files != nil && spec.Files.VmPathName != "":
		return datastoreOf(spec.Files.VmPathName)
	case vm != nil:
		return datastoreOf(vm.Config.Files.VmPathName)
	}
	return ""
}

// datastoreOf is the datastore's name in a path such as "[name] folder/file".
func datastoreOf(file string) string {
	var place object.DatastorePath
	if !place.FromString(file) {
		return ""
	}
	return place.Datastore
}

// withSpace runs a task of the simulator's within one of ours, once there is room for
// what it makes.
func (a *additions) withSpace(
	ctx *simulator.Context, about mo.Reference, name string, wanted map[string]int64, run func() types.ManagedObjectReference,
) types.ManagedObjectReference {
	task := simulator.CreateTask(about, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		release, fault := a.space.promise(ctx, wanted)
		if fault != nil {
			return nil, fault
		}
		defer release()
		inner := run()
		if fault := waitFor(ctx, inner); fault != nil {
			return nil, fault
		}
		return ctx.Map.Get(inner).(*simulator.Task).Info.Result, nil
	})
	return task.Run(ctx)
}

// CreateVirtualDiskTask refuses a disk that does not fit.
func (a *additions) CreateVirtualDiskTask(ctx *simulator.Context, req *types.CreateVirtualDisk_Task) soap.HasFault {
	manager := ctx.Map.Get(req.This).(*simulator.VirtualDiskManager)
	wanted := map[string]int64{}
	if spec, ok := req.Spec.(types.BaseFileBackedVirtualDiskSpec); ok {
		wanted[datastoreOf(req.Name)] = spec.GetFileBackedVirtualDiskSpec().CapacityKb << 10
	}
	task := a.withSpace(ctx, manager, "createVirtualDiskTask", wanted, func() types.ManagedObjectReference {
		return manager.CreateVirtualDiskTask(ctx, req).(*methods.CreateVirtualDisk_TaskBody).Res.Returnval
	})
	return &methods.CreateVirtualDisk_TaskBody{Res: &types.CreateVirtualDisk_TaskResponse{Returnval: task}}
}

// ExtendVirtualDiskTask refuses to grow a disk beyond what is left.
func (a *additions) ExtendVirtualDiskTask(ctx *simulator.Context, req *types.ExtendVirtualDisk_Task) soap.HasFault {
	manager := ctx.Map.Get(req.This).(*simulator.VirtualDiskManager)
	growth := max(0, req.NewCapacityKb-diskCapacityKiB(ctx, req.Name)) << 10
	wanted := map[string]int64{datastoreOf(req.Name): growth}
	task := a.withSpace(ctx, manager, "extendVirtualDiskTask", wanted, func() types.ManagedObjectReference {
		return manager.ExtendVirtualDiskTask(ctx, req).(*methods.ExtendVirtualDisk_TaskBody).Res.Returnval
	})
	return &methods.ExtendVirtualDisk_TaskBody{Res: &types.ExtendVirtualDisk_TaskResponse{Returnval: task}}
}
