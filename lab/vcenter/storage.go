package main

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
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

// RefreshDatastore keeps the declared capacity, which the simulator would reset.
func (a *additions) RefreshDatastore(*simulator.Context, *types.RefreshDatastore) soap.HasFault {
	return &methods.RefreshDatastoreBody{Res: &types.RefreshDatastoreResponse{}}
}
