package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// mounts makes datastores of the array's exports. The simulator takes a local
// directory for the remote path and knows neither a second host nor unmounting.
type mounts struct {
	array *array
	// files holds one directory per export. It stays when the last host unmounts,
	// as what lies on an export does.
	files string
	// cluster is whose hosts mount.
	cluster types.ManagedObjectReference
	// mutex: two hosts that mount the same export at once make one datastore.
	mutex sync.Mutex
}

// CreateNasDatastore mounts an export on a host. The first host makes the datastore,
// the others join it.
func (a *additions) CreateNasDatastore(ctx *simulator.Context, req *types.CreateNasDatastore) soap.HasFault {
	body := &methods.CreateNasDatastoreBody{}
	system := ctx.Map.Get(req.This).(*simulator.HostDatastoreSystem)
	ref, fault := a.mounts.mount(ctx, system, req.Spec)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	a.space.refresh(ctx)
	body.Res = &types.CreateNasDatastoreResponse{Returnval: ref}
	return body
}

func (m *mounts) mount(
	ctx *simulator.Context, system *simulator.HostDatastoreSystem, spec types.HostNasVolumeSpec,
) (types.ManagedObjectReference, *soap.Fault) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var none types.ManagedObjectReference
	if len(spec.RemoteHostNames) == 0 {
		spec.RemoteHostNames = []string{spec.RemoteHost}
	}
	for property, value := range map[string]string{
		"spec.remoteHost": spec.RemoteHostNames[0], "spec.remotePath": spec.RemotePath, "spec.localPath": spec.LocalPath,
	} {
		if value == "" {
			return none, simulator.Fault("A specified parameter was not correct: "+property, &types.InvalidArgument{InvalidProperty: property})
		}
	}
	// An unreadable file is as good as an array that does not answer.
	_, broken := m.array.changed()
	e, found := m.array.find(spec.RemoteHostNames, spec.RemotePath)
	if !found {
		return none, notExported(spec, broken)
	}
	ds, fault := m.present(ctx, spec)
	switch {
	case fault != nil:
		return none, fault
	case ds == nil:
		if ds, fault = m.add(ctx, spec, e); fault != nil {
			return none, fault
		}
	case slices.ContainsFunc(ds.Host, func(mount types.DatastoreHostMount) bool { return mount.Key == system.Host.Self }):
		return none, simulator.Fault(
			fmt.Sprintf("The export %s is already mounted on %s.", remote(spec), system.Host.Name),
			&types.AlreadyExists{Name: ds.Name})
	}
	m.join(ctx, ds, system, spec)
	return ds.Self, nil
}

func notExported(spec types.HostNasVolumeSpec, broken error) *soap.Fault {
	reason := "the mount request was denied by the NFS server. Check that the export exists and that the client is permitted to mount it."
	if broken != nil {
		reason = fmt.Sprintf("the NFS server does not answer (lab: %v).", broken)
	}
	message := fmt.Sprintf("An error occurred during host configuration: NFS mount %s failed: %s", remote(spec), reason)
	fault := &types.PlatformConfigFault{Text: message}
	fault.FaultMessage = said("vob.vmfs.nfs.mount.error.perm.denied", message)
	return simulator.Fault(message, fault)
}

func remote(spec types.HostNasVolumeSpec) string {
	return strings.Join(spec.RemoteHostNames, ",") + ":" + spec.RemotePath
}

// present finds the datastore that an export is mounted as already.
func (m *mounts) present(ctx *simulator.Context, spec types.HostNasVolumeSpec) (*simulator.Datastore, *soap.Fault) {
	for _, entity := range ctx.Map.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		info, nas := ds.Info.(*types.NasDatastoreInfo)
		same := nas && info.Nas.RemotePath == spec.RemotePath && slices.Equal(info.Nas.RemoteHostNames, spec.RemoteHostNames)
		switch {
		case same && ds.Name == spec.LocalPath:
			return ds, nil
		case same:
			return nil, simulator.Fault(
				fmt.Sprintf("The export %s is already mounted as datastore '%s'.", remote(spec), ds.Name),
				&types.AlreadyExists{Name: ds.Name})
		case ds.Name == spec.LocalPath:
			return nil, simulator.Fault(
				fmt.Sprintf("The name '%s' already exists: it is a datastore with other contents than %s.", ds.Name, remote(spec)),
				&types.DuplicateName{Name: ds.Name, Object: ds.Self})
		}
	}
	return nil, nil
}

// add puts a new datastore into the data centre's folder, mounted nowhere yet.
func (m *mounts) add(ctx *simulator.Context, spec types.HostNasVolumeSpec, e export) (*simulator.Datastore, *soap.Fault) {
	key := sha256.Sum256([]byte(remote(spec)))
	directory := filepath.Join(m.files, "nas-"+hex.EncodeToString(key[:6]))
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, simulator.Fault(err.Error(), &types.HostConfigFault{})
	}
	capacity := e.CapacityGiB * gibibyte
	ds := &simulator.Datastore{}
	ds.Name = spec.LocalPath
	ctx.Map.NewEntity(ds)
	info := types.DatastoreInfo{Name: ds.Name, Url: directory, FreeSpace: capacity, MaxFileSize: capacity, MaxMemoryFileSize: capacity}
	ds.Info = &types.NasDatastoreInfo{DatastoreInfo: info, Nas: &types.HostNasVolume{
		HostFileSystemVolume: types.HostFileSystemVolume{Type: spec.Type, Name: ds.Name, Capacity: capacity},
		RemoteHost:           spec.RemoteHostNames[0],
		RemoteHostNames:      spec.RemoteHostNames,
		RemotePath:           spec.RemotePath,
		SecurityType:         spec.SecurityType,
	}}
	ds.Capability = types.DatastoreCapability{
		DirectoryHierarchySupported:      true,
		PerFileThinProvisioningSupported: true,
		TopLevelDirectoryCreateSupported: types.NewBool(true),
		SeSparseSupported:                types.NewBool(false),
	}
	ds.Summary = types.DatastoreSummary{
		Datastore: &ds.Self, Name: ds.Name, Url: directory, Type: spec.Type,
		Capacity: capacity, FreeSpace: capacity, Accessible: true,
		MultipleHostAccess: types.NewBool(false),
		MaintenanceMode:    string(types.DatastoreSummaryMaintenanceModeStateNormal),
	}
	browser := &simulator.HostDatastoreBrowser{}
	browser.Datastore = []types.ManagedObjectReference{ds.Self}
	ds.Browser = ctx.Map.Put(browser).Reference()

	dc := ctx.Map.Any("Datacenter").(*simulator.Datacenter)
	folder := ctx.Map.Get(dc.DatastoreFolder).(*simulator.Folder)
	// First in the folder, then in the registry: else views of the folder miss it.
	ctx.Map.AddReference(ctx, folder, &folder.ChildEntity, ds.Self)
	ctx.Map.PutEntity(folder, ds)
	ctx.Map.AddReference(ctx, dc, &dc.Datastore, ds.Self)
	return ds, nil
}

// join mounts a datastore on one more host.
func (m *mounts) join(ctx *simulator.Context, ds *simulator.Datastore, system *simulator.HostDatastoreSystem, spec types.HostNasVolumeSpec) {
	access := spec.AccessMode
	if access == "" {
		access = string(types.HostMountModeReadWrite)
	}
	ctx.WithLock(ds, func() {
		hosts := append(slices.Clone(ds.Host), types.DatastoreHostMount{
			Key: system.Host.Self,
			MountInfo: types.HostMountInfo{
				Path: "/vmfs/volumes/" + ds.Name, AccessMode: access,
				Mounted: types.NewBool(true), Accessible: types.NewBool(true),
			},
		})
		setMounts(ctx, ds, hosts)
	})
	host := ctx.Map.Get(system.Host.Self).(*simulator.HostSystem)
	cluster := ctx.Map.Get(m.cluster).(*simulator.ClusterComputeResource)
	ctx.Map.AddReference(ctx, system, &system.Datastore, ds.Self)
	ctx.Map.AddReference(ctx, host, &host.Datastore, ds.Self)
	ctx.Map.AddReference(ctx, cluster, &cluster.Datastore, ds.Self)
}

// setMounts is called with the datastore locked.
func setMounts(ctx *simulator.Context, ds *simulator.Datastore, hosts []types.DatastoreHostMount) {
	ds.Summary.MultipleHostAccess = types.NewBool(len(hosts) > 1)
	ctx.Update(ds, []types.PropertyChange{{Name: "host", Val: hosts}})
}

// RemoveDatastore unmounts a datastore from a host; with its last host it is gone. It
// stays while a machine of that host, or any machine if it is the last, needs it.
func (a *additions) RemoveDatastore(ctx *simulator.Context, req *types.RemoveDatastore) soap.HasFault {
	body := &methods.RemoveDatastoreBody{}
	system := ctx.Map.Get(req.This).(*simulator.HostDatastoreSystem)
	if body.Fault_ = a.mounts.unmount(ctx, system, req.Datastore); body.Fault_ == nil {
		body.Res = &types.RemoveDatastoreResponse{}
	}
	return body
}

func (m *mounts) unmount(ctx *simulator.Context, system *simulator.HostDatastoreSystem, ref types.ManagedObjectReference) *soap.Fault {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	ds, ok := ctx.Map.Get(ref).(*simulator.Datastore)
	if !ok {
		return simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
	}
	left := slices.DeleteFunc(slices.Clone(ds.Host), func(mount types.DatastoreHostMount) bool { return mount.Key == system.Host.Self })
	if len(left) == len(ds.Host) {
		return simulator.Fault(fmt.Sprintf("Datastore '%s' is not mounted on %s.", ds.Name, system.Host.Name), &types.NotFound{})
	}
	for _, user := range machinesOn(ctx, ref) {
		if len(left) == 0 || user.host == system.Host.Self {
			return simulator.Fault(
				fmt.Sprintf("The resource '%s' is in use: the virtual machine '%s' has files on it.", ds.Name, user.name),
				&types.ResourceInUse{Type: ref.Type, Name: ds.Name})
		}
	}
	host := ctx.Map.Get(system.Host.Self).(*simulator.HostSystem)
	ctx.Map.RemoveReference(ctx, system, &system.Datastore, ref)
	ctx.Map.RemoveReference(ctx, host, &host.Datastore, ref)
	ctx.WithLock(ds, func() { setMounts(ctx, ds, left) })
	if len(left) == 0 {
		m.discard(ctx, ds)
	}
	return nil
}

func (m *mounts) discard(ctx *simulator.Context, ds *simulator.Datastore) {
	cluster := ctx.Map.Get(m.cluster).(*simulator.ClusterComputeResource)
	dc := ctx.Map.Any("Datacenter").(*simulator.Datacenter)
	ctx.Map.RemoveReference(ctx, cluster, &cluster.Datastore, ds.Self)
	ctx.Map.RemoveReference(ctx, dc, &dc.Datastore, ds.Self)
	leaveFolder(ctx, *ds.Parent, ds.Self)
	ctx.Map.Remove(ctx, ds.Browser)
	ctx.Map.Remove(ctx, ds.Self)
}

// user is a machine that has files on a datastore.
type user struct {
	name string
	host types.ManagedObjectReference
}

func machinesOn(ctx *simulator.Context, datastore types.ManagedObjectReference) []user {
	var found []user
	for _, entity := range ctx.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() {
			if slices.Contains(vm.Datastore, datastore) {
				found = append(found, user{vm.Name, *vm.Runtime.Host})
			}
		})
	}
	return found
}

// RefreshDatastore and RefreshDatastoreStorageInfo look at the array again. The
// simulator would reset the capacity.
func (a *additions) RefreshDatastore(ctx *simulator.Context, _ *types.RefreshDatastore) soap.HasFault {
	a.space.refresh(ctx)
	return &methods.RefreshDatastoreBody{Res: &types.RefreshDatastoreResponse{}}
}

func (a *additions) RefreshDatastoreStorageInfo(ctx *simulator.Context, _ *types.RefreshDatastoreStorageInfo) soap.HasFault {
	a.space.refresh(ctx)
	return &methods.RefreshDatastoreStorageInfoBody{Res: &types.RefreshDatastoreStorageInfoResponse{}}
}

// children is the list that a folder or datastore cluster keeps of what is in it.
func children(ctx *simulator.Context, ref types.ManagedObjectReference) (mo.Entity, *[]types.ManagedObjectReference) {
	switch parent := ctx.Map.Get(ref).(type) {
	case *simulator.Folder:
		return parent, &parent.ChildEntity
	case *simulator.StoragePod:
		return parent, &parent.ChildEntity
	}
	return nil, nil
}

func leaveFolder(ctx *simulator.Context, folder, child types.ManagedObjectReference) {
	if parent, list := children(ctx, folder); parent != nil {
		ctx.Map.RemoveReference(ctx, parent, list, child)
	}
}
