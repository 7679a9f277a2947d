package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// all reads every object of a kind by name.
func all[T any](l *lab, kind string, name func(T) string) map[string]T {
	l.t.Helper()
	container, err := view.NewManager(l.client.Client).CreateContainerView(
		l.ctx, l.client.ServiceContent.RootFolder, []string{kind}, true)
	l.must(err)
	var found []T
	l.must(container.Retrieve(l.ctx, []string{kind}, nil, &found))
	named := map[string]T{}
	for _, object := range found {
		named[name(object)] = object
	}
	return named
}

func names[T any](objects map[string]T) []string {
	var list []string
	for name := range objects {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func hostName(h mo.HostSystem) string         { return h.Name }
func machineName(vm mo.VirtualMachine) string { return vm.Name }
func storeName(ds mo.Datastore) string        { return ds.Name }

func TestHoldsExactlyTheInventory(t *testing.T) {
	l := startLab(t)
	for _, check := range []struct {
		what       string
		have, want []string
	}{
		{"hosts", names(all(l, "HostSystem", hostName)), []string{"sn-esx-a01", "sn-esx-a02", "sn-esx-b01", "sn-esx-b02"}},
		{"datastores", names(all(l, "Datastore", storeName)), []string{"sn-local-b01", "sn-mirror01"}},
		{"machines", names(all(l, "VirtualMachine", machineName)), []string{"tpl-debian-12", "tpl-windows-11"}},
		{"networks", names(all(l, "Network", func(n mo.Network) string {
			// The uplinks' port group carries the switch's number in its name.
			return strings.TrimRight(n.Name, "-0123456789")
		})), []string{"sn-dvs01-DVUplinks", "sn-dvs01-templates"}},
	} {
		if !slices.Equal(check.have, check.want) {
			t.Errorf("%s: %v, want %v", check.what, check.have, check.want)
		}
	}
}

func TestHostsHaveTheDeclaredSize(t *testing.T) {
	l := startLab(t)
	for name, host := range all(l, "HostSystem", hostName) {
		hardware := host.Summary.Hardware
		if hardware.NumCpuCores != 64 || hardware.CpuMhz != 2800 || hardware.MemorySize != 1024*gibibyte {
			t.Errorf("%s: %d cores of %d MHz, %d bytes", name, hardware.NumCpuCores, hardware.CpuMhz, hardware.MemorySize)
		}
		if host.Hardware.MemorySize != 1024*gibibyte {
			t.Errorf("%s: hardware and summary differ", name)
		}
	}
}

func TestClusterHasHAAndDRS(t *testing.T) {
	l := startLab(t)
	cluster, err := l.finder.ClusterComputeResource(l.ctx, "sn-cluster01")
	l.must(err)
	config, err := cluster.Configuration(l.ctx)
	l.must(err)
	if !*config.DasConfig.Enabled || !*config.DrsConfig.Enabled {
		t.Errorf("HA %v, DRS %v", *config.DasConfig.Enabled, *config.DrsConfig.Enabled)
	}
	var properties mo.ClusterComputeResource
	l.must(cluster.Properties(l.ctx, cluster.Reference(), []string{"summary"}, &properties))
	summary := properties.Summary.GetComputeResourceSummary()
	if summary.NumHosts != 4 || summary.TotalCpu != 4*64*2800 || summary.TotalMemory != 4096*gibibyte {
		t.Errorf("%d hosts, %d MHz, %d bytes", summary.NumHosts, summary.TotalCpu, summary.TotalMemory)
	}
}

func TestDatastoresAreMountedBySection(t *testing.T) {
	l := startLab(t)
	stores := all(l, "Datastore", storeName)
	for name, want := range map[string]struct {
		mounts   int
		capacity int64
	}{"sn-mirror01": {4, 51200 * gibibyte}, "sn-local-b01": {2, 10240 * gibibyte}} {
		have := stores[name]
		if len(have.Host) != want.mounts || have.Summary.Capacity != want.capacity {
			t.Errorf("%s: on %d hosts with %d bytes", name, len(have.Host), have.Summary.Capacity)
		}
		if have.Summary.Type != "VMFS" {
			t.Errorf("%s: type %s", name, have.Summary.Type)
		}
	}
	for name, host := range all(l, "HostSystem", hostName) {
		want := 1
		if strings.HasPrefix(name, "sn-esx-b") {
			want = 2
		}
		if len(host.Datastore) != want {
			t.Errorf("%s has %d datastores, want %d", name, len(host.Datastore), want)
		}
	}
}

func TestTemplatesCanBeCloned(t *testing.T) {
	l := startLab(t)
	for name, vm := range all(l, "VirtualMachine", machineName) {
		if !vm.Config.Template {
			t.Errorf("%s is not a template", name)
		}
		if vm.Summary.Config.NumVirtualDisks != 1 || vm.Summary.Config.NumEthernetCards != 1 {
			t.Errorf("%s: %d disks, %d network cards", name, vm.Summary.Config.NumVirtualDisks, vm.Summary.Config.NumEthernetCards)
		}
	}
	vm := l.read(l.clone("gra-dns01"))
	if vm.Config.GuestId != "debian12_64Guest" || vm.Config.Template {
		t.Errorf("the clone has guest %s, template %v", vm.Config.GuestId, vm.Config.Template)
	}
}

func TestSaysThatItIsSimulated(t *testing.T) {
	l := startLab(t)
	about := l.client.ServiceContent.About
	if !strings.Contains(about.FullName, "simulated") || about.ApiVersion != "8.0.2.0" {
		t.Errorf("%s, API %s", about.FullName, about.ApiVersion)
	}
}

func TestPoolsCanBeLimited(t *testing.T) {
	l := startLab(t)
	root, err := l.finder.ResourcePool(l.ctx, "sn-cluster01/Resources")
	l.must(err)
	spec := types.DefaultResourceConfigSpec()
	spec.CpuAllocation.Limit, spec.MemoryAllocation.Limit = types.NewInt64(20000), types.NewInt64(65536)
	spec.MemoryAllocation.Reservation = types.NewInt64(1024)
	pool, err := root.Create(l.ctx, "grabow", spec)
	l.must(err)
	var properties mo.ResourcePool
	l.must(pool.Properties(l.ctx, pool.Reference(), []string{"config"}, &properties))
	if *properties.Config.CpuAllocation.Limit != 20000 || *properties.Config.MemoryAllocation.Reservation != 1024 {
		t.Errorf("%+v", properties.Config)
	}
}
