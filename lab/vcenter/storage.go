package main

import (
	"context"
	"fmt"
	"os"
	"path"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func (d *datacentre) addDatastores(ctx context.Context) error {
	for _, store := range d.inventory.Datastores {
		directory := d.datastoreDirectory(store.Name)
		if err := os.Mkdir(directory, 0o700); err != nil {
			return err
		}
		for _, name := range store.hosts(d.inventory) {
			system, err := d.hosts[name].ConfigManager().DatastoreSystem(ctx)
			if err != nil {
				return err
			}
			if _, err := system.CreateLocalDatastore(ctx, store.Name, directory); err != nil {
				return fmt.Errorf("%s on %s: %w", store.Name, name, err)
			}
		}
	}
	for _, entity := range d.registry.All("Datastore") {
		d.describe(entity.(*simulator.Datastore))
	}
	return nil
}

// describe makes a datastore the VMFS volume of the declared size that it stands
// for; the simulator makes every one a local directory of one terabyte per host.
func (d *datacentre) describe(ds *simulator.Datastore) {
	for _, store := range d.inventory.Datastores {
		if store.Name != ds.Name {
			continue
		}
		capacity := store.CapacityGiB * gibibyte
		shared := len(ds.Host) > 1
		volume := types.HostVmfsVolume{
			HostFileSystemVolume: types.HostFileSystemVolume{
				Type:     string(types.HostFileSystemVolumeFileSystemTypeVMFS),
				Name:     ds.Name,
				Capacity: capacity,
			},
			BlockSizeMb:  1,
			MajorVersion: 6,
			Version:      "6.82",
			Uuid:         uuid.NewSHA1(uuid.NameSpaceOID, []byte(ds.Name)).String(),
			Local:        types.NewBool(!shared),
		}
		info := *ds.Info.GetDatastoreInfo()
		info.FreeSpace, info.MaxFileSize, info.MaxMemoryFileSize = capacity, capacity, capacity
		ds.Info = &types.VmfsDatastoreInfo{DatastoreInfo: info, Vmfs: &volume}
		ds.Summary.Type = volume.Type
		ds.Summary.Capacity, ds.Summary.FreeSpace = capacity, capacity
		ds.Summary.MultipleHostAccess = types.NewBool(shared)
	}
}

// SearchDatastoreTask also tells the capacity of the disks it finds. The provider
// asks for it, and would take none for a disk that has shrunk and replace it.
func (a *additions) SearchDatastoreTask(ctx *simulator.Context, req *types.SearchDatastore_Task) soap.HasFault {
	browser := ctx.Map.Get(req.This).(*simulator.HostDatastoreBrowser)
	task := simulator.CreateTask(searched(ctx, browser, req.DatastorePath), "searchDatastoreTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		search := browser.SearchDatastoreTask(ctx, req).(*methods.SearchDatastore_TaskBody).Res.Returnval
		if fault := waitFor(ctx, search); fault != nil {
			return nil, fault
		}
		found, ok := ctx.Map.Get(search).(*simulator.Task).Info.Result.(types.HostDatastoreBrowserSearchResults)
		if !ok {
			return nil, &types.SystemErrorFault{Reason: "the datastore search ended without a result"}
		}
		for _, file := range found.File {
			if disk, ok := file.(*types.VmDiskFileInfo); ok {
				disk.CapacityKb = diskCapacityKiB(ctx, path.Join(found.FolderPath, disk.Path))
			}
		}
		return found, nil
	})
	return &methods.SearchDatastore_TaskBody{
		Res: &types.SearchDatastore_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// searched is the object that a search is about: a datastore, by the browser's path.
// Clients expect a task to be about something in the inventory.
func searched(ctx *simulator.Context, browser *simulator.HostDatastoreBrowser, file string) mo.Reference {
	var place object.DatastorePath
	if place.FromString(file) {
		if entity := ctx.Map.FindByName(place.Datastore, browser.Datastore); entity != nil {
			return entity
		}
	}
	return browser
}

// diskCapacityKiB reads a disk's size from its descriptor; 0 if it has none.
func diskCapacityKiB(ctx *simulator.Context, file string) int64 {
	dc := ctx.Map.Any("Datacenter").Reference()
	descriptor, _, fault := ctx.Map.FileManager().DiskDescriptor(ctx, &dc, file)
	if fault != nil {
		return 0
	}
	return descriptor.Capacity() >> 10
}
