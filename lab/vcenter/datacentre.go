package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // tags
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const gibibyte = int64(1) << 30

// release is the vSphere release that the simulator's hosts already claim to run.
const release = "8.0.2"

// datacentre is a simulated vCenter with one data centre in it.
type datacentre struct {
	inventory inventory
	model     *simulator.Model
	registry  *simulator.Registry
	// client calls the simulator in process, past login and transport.
	client *vim25.Client
	// files holds the datastores' directories.
	files string

	dc      *object.Datacenter
	folders *object.DatacenterFolders
	cluster *object.ClusterComputeResource
	hosts   map[string]*object.HostSystem
	dvs     *simulator.DistributedVirtualSwitch
}

// buildDatacentre fills an empty vCenter from the inventory. Everything that the
// API offers is done through the API, so that it is consistent in itself.
func buildDatacentre(inv inventory) (*datacentre, error) {
	model := simulator.VPX()
	// Only the root folder: the model's own data centre is not ours.
	model.Datacenter, model.Cluster, model.Host, model.Machine = 0, 0, 0, 0
	model.Datastore, model.Portgroup = 0, 0
	about := &model.ServiceContent.About
	about.Version, about.ApiVersion, about.LicenseProductVersion = release, release+".0", release
	about.FullName = fmt.Sprintf("%s %s (simulated, KSM lab)", about.Name, release)
	if err := model.Create(); err != nil {
		return nil, err
	}
	client, err := vim25.NewClient(context.Background(), model.Service)
	if err != nil {
		return nil, err
	}
	files, err := os.MkdirTemp("", "lab-vcenter-")
	if err != nil {
		return nil, err
	}
	d := &datacentre{
		inventory: inv,
		model:     model,
		registry:  model.Service.Context.Map,
		client:    client,
		files:     files,
		hosts:     map[string]*object.HostSystem{},
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"data centre", d.addDatacenter},
		{"cluster", d.addCluster},
		{"hosts", d.addHosts},
		{"switch", d.addSwitch},
		{"datastores", d.addDatastores},
		{"templates", d.addTemplates},
		{"default network", d.removeDefaultNetwork},
	} {
		if err := step.run(context.Background()); err != nil {
			d.remove()
			return nil, fmt.Errorf("building the %s: %w", step.name, err)
		}
	}
	return d, nil
}

func (d *datacentre) remove() {
	d.model.Remove()
	_ = os.RemoveAll(d.files)
}

func (d *datacentre) addDatacenter(ctx context.Context) (err error) {
	d.dc, err = object.NewRootFolder(d.client).CreateDatacenter(ctx, d.inventory.Datacenter)
	if err != nil {
		return err
	}
	d.folders, err = d.dc.Folders(ctx)
	return err
}

// addCluster completes what the simulator makes: it only looks at the name.
func (d *datacentre) addCluster(ctx context.Context) (err error) {
	d.cluster, err = d.folders.HostFolder.CreateCluster(ctx, d.inventory.Cluster, types.ClusterConfigSpecEx{})
	if err != nil {
		return err
	}
	cluster := d.registry.Get(d.cluster.Reference()).(*simulator.ClusterComputeResource)
	completeCluster(cluster.ConfigurationEx.(*types.ClusterConfigInfoEx))
	return nil
}

func (d *datacentre) addHosts(ctx context.Context) error {
	for _, name := range d.inventory.hosts() {
		task, err := d.cluster.AddHost(ctx, types.HostConnectSpec{HostName: name}, true, nil, nil)
		if err != nil {
			return err
		}
		info, err := task.WaitForResult(ctx)
		if err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
		host := object.NewHostSystem(d.client, info.Result.(types.ManagedObjectReference))
		d.hosts[name] = host
		d.resize(d.registry.Get(host.Reference()).(*simulator.HostSystem))
	}
	d.sizeCluster()
	d.addVsanSystems()
	return nil
}

// resize gives a host its declared CPU and memory; the simulator knows one size.
func (d *datacentre) resize(host *simulator.HostSystem) {
	size := d.inventory.Host
	memory := size.MemoryGiB * gibibyte

	summary := host.Summary.Hardware
	summary.NumCpuPkgs, summary.NumCpuCores, summary.NumCpuThreads = 2, size.CPUCores, 2*size.CPUCores
	summary.CpuMhz, summary.MemorySize = size.CPUMHz, memory

	host.Hardware.CpuInfo = types.HostCpuInfo{
		NumCpuPackages: summary.NumCpuPkgs,
		NumCpuCores:    summary.NumCpuCores,
		NumCpuThreads:  summary.NumCpuThreads,
		Hz:             int64(size.CPUMHz) * 1_000_000,
	}
	host.Hardware.MemorySize = memory
}

// sizeCluster makes the cluster and its root pool as large as the hosts together.
func (d *datacentre) sizeCluster() {
	cluster := d.registry.Get(d.cluster.Reference()).(*simulator.ClusterComputeResource)
	count := int64(len(d.hosts))
	cpu := count * int64(d.inventory.Host.CPUCores) * int64(d.inventory.Host.CPUMHz)
	memory := count * d.inventory.Host.MemoryGiB * gibibyte

	summary := cluster.Summary.GetComputeResourceSummary()
	summary.TotalCpu, summary.EffectiveCpu = int32(cpu), int32(cpu)
	summary.TotalMemory, summary.EffectiveMemory = memory, memory>>20
	summary.NumCpuCores = int16(count) * d.inventory.Host.CPUCores
	summary.NumCpuThreads = 2 * summary.NumCpuCores

	pool := d.registry.Get(*cluster.ResourcePool).(*simulator.ResourcePool)
	for _, share := range []struct {
		allocation *types.ResourceAllocationInfo
		usage      *types.ResourcePoolResourceUsage
		total      int64
	}{
		{&pool.Config.CpuAllocation, &pool.Runtime.Cpu, cpu},
		{&pool.Config.MemoryAllocation, &pool.Runtime.Memory, memory >> 20},
	} {
		share.allocation.Reservation = types.NewInt64(share.total)
		share.allocation.Limit = types.NewInt64(share.total)
		share.usage.MaxUsage = share.total
		share.usage.UnreservedForPool = share.total
		share.usage.UnreservedForVm = share.total
	}
}

// addTemplates puts one template per entry on the first datastore, attached to
// the switch's port group for templates.
func (d *datacentre) addTemplates(ctx context.Context) error {
	if len(d.inventory.Templates) == 0 {
		return nil
	}
	portgroup, err := d.addTemplatePortgroup(ctx)
	if err != nil {
		return err
	}
	backing, err := portgroup.EthernetCardBackingInfo(ctx)
	if err != nil {
		return err
	}
	pool, err := d.cluster.ResourcePool(ctx)
	if err != nil {
		return err
	}
	for _, t := range d.inventory.Templates {
		if err := d.addTemplate(ctx, t, pool, backing); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

func (d *datacentre) addTemplate(ctx context.Context, t template, pool *object.ResourcePool, network types.BaseVirtualDeviceBackingInfo) error {
	store := d.inventory.Datastores[0]
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return err
	}
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{},
		fmt.Sprintf("[%s] %s/%s.vmdk", store.Name, t.Name, t.Name))
	disk.CapacityInKB = t.DiskGiB << 20
	flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	flat.ThinProvisioned = types.NewBool(true)
	card, err := devices.CreateEthernetCard("vmxnet3", network)
	if err != nil {
		return err
	}
	devices = append(devices, scsi, disk, card)
	change, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return err
	}
	task, err := d.folders.VmFolder.CreateVM(ctx, types.VirtualMachineConfigSpec{
		Name:         t.Name,
		GuestId:      t.GuestID,
		Version:      fmt.Sprintf("vmx-%d", hardwareVersion),
		NumCPUs:      1,
		MemoryMB:     1024,
		Files:        &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", store.Name)},
		DeviceChange: change,
	}, pool, d.hosts[store.hosts(d.inventory)[0]])
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return err
	}
	vm := object.NewVirtualMachine(d.client, info.Result.(types.ManagedObjectReference))
	return vm.MarkAsTemplate(ctx)
}

// removeDefaultNetwork takes away the "VM Network" that every simulated data
// centre starts with. Hosts and clusters cannot be made without it, so it goes last.
func (d *datacentre) removeDefaultNetwork(context.Context) error {
	folder := d.registry.Get(d.folders.NetworkFolder.Reference()).(*simulator.Folder)
	dc := d.registry.Get(d.dc.Reference()).(*simulator.Datacenter)
	cluster := d.registry.Get(d.cluster.Reference()).(*simulator.ClusterComputeResource)

	for _, entity := range d.registry.All("Network") {
		ref := entity.Reference()
		for _, list := range []*[]types.ManagedObjectReference{&folder.ChildEntity, &dc.Network, &cluster.Network} {
			simulator.RemoveReference(list, ref)
		}
		for _, host := range d.registry.All("HostSystem") {
			simulator.RemoveReference(&host.(*simulator.HostSystem).Network, ref)
		}
		d.registry.Remove(d.model.Service.Context, ref)
	}
	return nil
}

// datastoreDirectory is where the files of a datastore lie on this machine.
func (d *datacentre) datastoreDirectory(name string) string {
	return filepath.Join(d.files, name)
}
