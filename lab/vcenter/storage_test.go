package main

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const dataFile = "[sn-mirror01] ksm/gra-fs01-data.vmdk"

func (l *lab) createDataDisk() {
	l.t.Helper()
	files := object.NewFileManager(l.client.Client)
	l.must(files.MakeDirectory(l.ctx, "[sn-mirror01] ksm", l.dc, true))
	l.wait(object.NewVirtualDiskManager(l.client.Client).CreateVirtualDisk(l.ctx, dataFile, l.dc,
		&types.FileBackedVirtualDiskSpec{
			VirtualDiskSpec: types.VirtualDiskSpec{DiskType: "thin", AdapterType: "lsiLogic"},
			CapacityKb:      10 << 20,
		}))
}

// sizeOnDatastore is the capacity in GiB that a search of the datastore finds; -1
// if there is no such disk.
func (l *lab) sizeOnDatastore() int64 {
	l.t.Helper()
	store, err := l.finder.Datastore(l.ctx, "sn-mirror01")
	l.must(err)
	browser, err := store.Browser(l.ctx)
	l.must(err)
	info := l.wait(browser.SearchDatastore(l.ctx, "[sn-mirror01] ksm", &types.HostDatastoreBrowserSearchSpec{
		Query:        []types.BaseFileQuery{&types.VmDiskFileQuery{}},
		Details:      &types.FileQueryFlags{FileType: true},
		MatchPattern: []string{"gra-fs01-data.vmdk"},
	}))
	if info.Entity == nil || *info.Entity != store.Reference() {
		l.t.Errorf("the search is about %v", info.Entity)
	}
	found := info.Result.(types.HostDatastoreBrowserSearchResults).File
	if len(found) == 0 {
		return -1
	}
	return found[0].(*types.VmDiskFileInfo).CapacityKb >> 20
}

// attach adds the data disk to a machine as it is, without telling its size.
func (l *lab) attach(vm *object.VirtualMachine) *types.VirtualDisk {
	l.t.Helper()
	devices, err := vm.Device(l.ctx)
	l.must(err)
	controller, err := devices.FindDiskController("")
	l.must(err)
	disk := devices.CreateDisk(controller, types.ManagedObjectReference{}, dataFile)
	l.reconfigure(vm, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: disk},
	}})
	return l.dataDisk(vm)
}

func (l *lab) dataDisk(vm *object.VirtualMachine) *types.VirtualDisk {
	l.t.Helper()
	devices, err := vm.Device(l.ctx)
	l.must(err)
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		if disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName == dataFile {
			return disk
		}
	}
	l.t.Fatal("the data disk is not attached")
	return nil
}

func TestDiskIsFoundWithItsSize(t *testing.T) {
	l := startLab(t)
	l.createDataDisk()
	if size := l.sizeOnDatastore(); size != 10 {
		t.Errorf("%d GiB, want 10", size)
	}
}

func TestCapacitySurvivesARefresh(t *testing.T) {
	l := startLab(t)
	store, err := l.finder.Datastore(l.ctx, "sn-mirror01")
	l.must(err)
	_, err = methods.RefreshDatastore(l.ctx, l.client, &types.RefreshDatastore{This: store.Reference()})
	l.must(err)
	if capacity := all(l, "Datastore", storeName)["sn-mirror01"].Summary.Capacity; capacity != 51200*gibibyte {
		t.Errorf("%d bytes", capacity)
	}
}

func TestAttachedDiskHasItsSizeAndKeepsItWhenGrown(t *testing.T) {
	l := startLab(t)
	l.createDataDisk()
	vm := l.clone("gra-fs01")
	disk := l.attach(vm)
	if disk.CapacityInBytes != 10*gibibyte {
		t.Fatalf("attached with %d bytes", disk.CapacityInBytes)
	}
	disk.CapacityInKB, disk.CapacityInBytes = 15<<20, 15*gibibyte
	l.reconfigure(vm, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk},
	}})
	if size := l.sizeOnDatastore(); size != 15 {
		t.Errorf("after growing %d GiB, want 15", size)
	}
}

func TestDetachedDiskSurvivesItsMachine(t *testing.T) {
	l := startLab(t)
	l.createDataDisk()
	vm := l.clone("gra-fs01")
	l.attach(vm)
	l.must(vm.RemoveDevice(l.ctx, true, l.dataDisk(vm)))
	l.wait(vm.Destroy(l.ctx))
	if size := l.sizeOnDatastore(); size != 10 {
		t.Errorf("%d GiB, want 10", size)
	}
}

// As in a real vCenter: the test of a disk that survives would mean nothing otherwise.
func TestAttachedDiskGoesWithItsMachine(t *testing.T) {
	l := startLab(t)
	l.createDataDisk()
	vm := l.clone("gra-fs01")
	l.attach(vm)
	l.wait(vm.Destroy(l.ctx))
	l.eventually("the disk is deleted", func() bool { return l.sizeOnDatastore() == -1 })
}
