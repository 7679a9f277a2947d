package main

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const testArray = `{"exports": [
	{"host": "sn-nas-a.ksm.internal", "path": "/ksm/gra/gold", "capacity_gib": 100, "sections": ["A", "B"]},
	{"host": "sn-nas-b.ksm.internal", "path": "/ksm/gra/local", "capacity_gib": 50, "sections": ["B"]}
]}`

func nasSpec(name string) types.HostNasVolumeSpec {
	return types.HostNasVolumeSpec{
		RemoteHost: "sn-nas-a.ksm.internal", RemoteHostNames: []string{"sn-nas-a.ksm.internal"},
		RemotePath: "/ksm/gra/gold", LocalPath: name, AccessMode: "readWrite", Type: "NFS41",
	}
}

func (l *lab) datastoreSystem(host string) *object.HostDatastoreSystem {
	l.t.Helper()
	system, err := l.finder.HostSystem(l.ctx, host)
	l.must(err)
	datastores, err := system.ConfigManager().DatastoreSystem(l.ctx)
	l.must(err)
	return datastores
}

// mount mounts the golden export on all hosts of the given names.
func (l *lab) mount(name string, hosts ...string) *object.Datastore {
	l.t.Helper()
	var mounted *object.Datastore
	for _, host := range hosts {
		ds, err := l.datastoreSystem(host).CreateNasDatastore(l.ctx, nasSpec(name))
		l.must(err)
		if mounted != nil && mounted.Reference() != ds.Reference() {
			l.t.Fatalf("%s made a second datastore", host)
		}
		mounted = ds
	}
	return mounted
}

func (l *lab) store(ds *object.Datastore) mo.Datastore {
	l.t.Helper()
	var properties mo.Datastore
	l.must(ds.Properties(l.ctx, ds.Reference(), nil, &properties))
	return properties
}

func (l *lab) cloneOnto(name string, ds *object.Datastore) (*object.VirtualMachine, error) {
	l.t.Helper()
	template, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	folders, err := l.dc.Folders(l.ctx)
	l.must(err)
	pool, err := l.finder.ResourcePool(l.ctx, "sn-cluster01/Resources")
	l.must(err)
	poolRef, storeRef := pool.Reference(), ds.Reference()
	task, err := template.Clone(l.ctx, folders.VmFolder, name, types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &poolRef, Datastore: &storeRef},
	})
	l.must(err)
	info, err := task.WaitForResult(l.ctx)
	if err != nil {
		return nil, err
	}
	return object.NewVirtualMachine(l.client.Client, info.Result.(types.ManagedObjectReference)), nil
}

func (l *lab) addDisk(vm *object.VirtualMachine, file string, gib int64) error {
	l.t.Helper()
	_ = object.NewFileManager(l.client.Client).MakeDirectory(l.ctx, path.Dir(file), l.dc, true) // it may be there
	devices, err := vm.Device(l.ctx)
	l.must(err)
	controller, err := devices.FindDiskController("")
	l.must(err)
	disk := devices.CreateDisk(controller, types.ManagedObjectReference{}, file)
	disk.CapacityInKB = gib << 20
	task, err := vm.Reconfigure(l.ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: disk,
		},
	}})
	l.must(err)
	return task.Wait(l.ctx)
}

func TestExportIsOneDatastoreOnAllItsHosts(t *testing.T) {
	l := startLab(t)
	ds := l.store(l.mount("gra-gold", "sn-esx-a01", "sn-esx-b01"))
	nas := ds.Info.(*types.NasDatastoreInfo).Nas
	if ds.Name != "gra-gold" || len(ds.Host) != 2 || !*ds.Summary.MultipleHostAccess || !ds.Summary.Accessible {
		t.Errorf("%s on %d hosts, shared %v", ds.Name, len(ds.Host), *ds.Summary.MultipleHostAccess)
	}
	if ds.Summary.Capacity != 100*gibibyte || ds.Summary.FreeSpace != 100*gibibyte || ds.Summary.Type != "NFS41" {
		t.Errorf("%d bytes, %d free, %s", ds.Summary.Capacity, ds.Summary.FreeSpace, ds.Summary.Type)
	}
	if nas.RemoteHostNames[0] != "sn-nas-a.ksm.internal" || nas.RemotePath != "/ksm/gra/gold" {
		t.Errorf("%v:%s", nas.RemoteHostNames, nas.RemotePath)
	}
}

func TestUnknownExportIsRefused(t *testing.T) {
	l := startLab(t)
	spec := nasSpec("gra-gold")
	spec.RemotePath = "/ksm/gra/gold2"
	_, err := l.datastoreSystem("sn-esx-a01").CreateNasDatastore(l.ctx, spec)
	if err == nil || !strings.Contains(err.Error(), "sn-nas-a.ksm.internal:/ksm/gra/gold2") {
		t.Errorf("the refusal is %v", err)
	}
}

func TestExportIsMountedUnderOneNameOnce(t *testing.T) {
	l := startLab(t)
	l.mount("gra-gold", "sn-esx-a01")
	for host, name := range map[string]string{"sn-esx-a01": "gra-gold", "sn-esx-b01": "gra-other"} {
		if _, err := l.datastoreSystem(host).CreateNasDatastore(l.ctx, nasSpec(name)); err == nil {
			t.Errorf("%s mounted it again as %s", host, name)
		}
	}
	other := nasSpec("gra-gold")
	other.RemoteHostNames, other.RemotePath = []string{"sn-nas-b.ksm.internal"}, "/ksm/gra/local"
	if _, err := l.datastoreSystem("sn-esx-b01").CreateNasDatastore(l.ctx, other); err == nil {
		t.Error("another export took the datastore's name")
	}
}

func TestGrownExportIsALargerDatastore(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01")
	l.write("array.json", strings.Replace(testArray, `"capacity_gib": 100`, `"capacity_gib": 150`, 1), 0o600)
	l.must(os.Chtimes(l.path("array.json"), time.Time{}, time.Now().Add(time.Second)))
	if capacity := l.store(ds).Summary.Capacity; capacity != 150*gibibyte {
		t.Errorf("%d bytes", capacity)
	}
}

func TestBrokenArrayFileChangesNothing(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01")
	l.write("array.json", "{", 0o600)
	if capacity := l.store(ds).Summary.Capacity; capacity != 100*gibibyte {
		t.Errorf("%d bytes", capacity)
	}
}

func TestDisksTakeSpaceAndGiveItBack(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01", "sn-esx-a02")
	vm, err := l.cloneOnto("gra-db01", ds)
	l.must(err)
	l.must(l.addDisk(vm, "[gra-gold] ksm/gra-db01-data.vmdk", 30))
	if free := l.store(ds).Summary.FreeSpace; free != 50*gibibyte {
		t.Errorf("%d GiB free, want 100 - 20 - 30", free/gibibyte)
	}
	l.wait(vm.Destroy(l.ctx))
	l.eventually("the space is free again", func() bool { return l.store(ds).Summary.FreeSpace == 100*gibibyte })
}

func TestDiskThatDoesNotFitIsRefused(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01")
	vm, err := l.cloneOnto("gra-db01", ds)
	l.must(err)
	err = l.addDisk(vm, "[gra-gold] ksm/gra-db01-data.vmdk", 81)
	if err == nil || !strings.Contains(err.Error(), "Insufficient disk space on datastore 'gra-gold'") {
		t.Errorf("creating: %v", err)
	}
	l.must(l.addDisk(vm, "[gra-gold] ksm/gra-db01-data.vmdk", 70))
	disk := attachedDisk(l, vm, "[gra-gold] ksm/gra-db01-data.vmdk")
	disk.CapacityInBytes = 81 * gibibyte // the provider tells one of the two
	task, err := vm.Reconfigure(l.ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk},
	}})
	l.must(err)
	if err := task.Wait(l.ctx); err == nil || !strings.Contains(err.Error(), "Insufficient disk space") {
		t.Errorf("growing: %v", err)
	}
	if _, err := l.cloneOnto("gra-db02", ds); err == nil || !strings.Contains(err.Error(), "Insufficient disk space") {
		t.Errorf("cloning: %v", err)
	}
	if _, err := l.finder.VirtualMachine(l.ctx, "gra-db02"); err == nil {
		t.Error("a clone that was refused is there")
	}
}

func attachedDisk(l *lab, vm *object.VirtualMachine, file string) *types.VirtualDisk {
	l.t.Helper()
	devices, err := vm.Device(l.ctx)
	l.must(err)
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		if disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName == file {
			return disk
		}
	}
	l.t.Fatalf("%s is not attached", file)
	return nil
}

func TestDatastoreStaysWhileAMachineNeedsItAndGoesWithItsLastHost(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-b01", "sn-esx-b02")
	vm, err := l.cloneOnto("gra-db01", ds)
	l.must(err)
	if host := l.host(vm); !strings.HasPrefix(host, "sn-esx-b") {
		t.Errorf("the clone is on %s, which does not see its datastore", host)
	}
	if err := l.datastoreSystem(l.host(vm)).Remove(l.ctx, ds); err == nil {
		t.Error("it was unmounted under its machine")
	}
	l.wait(vm.Destroy(l.ctx))
	for _, host := range []string{"sn-esx-b01", "sn-esx-b02"} {
		l.must(l.datastoreSystem(host).Remove(l.ctx, ds))
	}
	if _, err := l.finder.Datastore(l.ctx, "gra-gold"); err == nil {
		t.Error("it is still there")
	}
}

func TestWhatLiesOnAnExportOutlivesItsMount(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01")
	l.must(object.NewFileManager(l.client.Client).MakeDirectory(l.ctx, "[gra-gold] ksm", l.dc, true))
	l.wait(object.NewVirtualDiskManager(l.client.Client).CreateVirtualDisk(l.ctx, "[gra-gold] ksm/kept.vmdk", l.dc,
		&types.FileBackedVirtualDiskSpec{
			VirtualDiskSpec: types.VirtualDiskSpec{DiskType: "thin", AdapterType: "lsiLogic"}, CapacityKb: 10 << 20,
		}))
	l.must(l.datastoreSystem("sn-esx-a01").Remove(l.ctx, ds))
	if free := l.store(l.mount("gra-again", "sn-esx-a01")).Summary.FreeSpace; free != 90*gibibyte {
		t.Errorf("%d GiB free, want 90", free/gibibyte)
	}
}

func TestMachineThatIsOffFollowsADiskToItsDatastore(t *testing.T) {
	l := startLab(t)
	l.mount("gra-gold", "sn-esx-b02")
	vm := l.clone("gra-db01")
	l.must(l.addDisk(vm, "[gra-gold] ksm/gra-db01-data.vmdk", 10))
	if host := l.host(vm); host != "sn-esx-b02" {
		t.Errorf("it is on %s", host)
	}
	if stores := l.read(vm).Datastore; len(stores) != 2 {
		t.Errorf("it lies on %v", stores)
	}
}

func TestMachineThatIsMovedStaysOnAllItsDatastores(t *testing.T) {
	l := startLab(t)
	gold := l.mount("gra-gold", "sn-esx-a01", "sn-esx-b01")
	other, err := l.finder.Datastore(l.ctx, "sn-mirror01")
	l.must(err)
	vm, err := l.cloneOnto("gra-db02", gold)
	l.must(err)
	l.must(l.addDisk(vm, "[sn-mirror01] ksm-data/gra-db02-pgdata.vmdk", 1))
	// As the provider does when DRS has put the machine on another host than it asked for.
	host, err := l.finder.HostSystem(l.ctx, "sn-esx-b01")
	l.must(err)
	hostRef, storeRef := host.Reference(), gold.Reference()
	l.wait(vm.Relocate(l.ctx, types.VirtualMachineRelocateSpec{Host: &hostRef, Datastore: &storeRef}, types.VirtualMachineMovePriorityDefaultPriority))
	have := l.read(vm)
	if *have.Runtime.Host != hostRef {
		t.Errorf("it runs on %v", have.Runtime.Host)
	}
	for _, ds := range []*object.Datastore{gold, other} {
		if !slices.Contains(have.Datastore, ds.Reference()) || !slices.Contains(l.store(ds).Vm, vm.Reference()) {
			t.Errorf("%s: the machine has %v, the datastore %v", ds.Name(), have.Datastore, l.store(ds).Vm)
		}
	}
}
