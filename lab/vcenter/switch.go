package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// addSwitch makes the switch with its uplinks; the port group of the physical
// ports comes with it.
func (d *datacentre) addSwitch(ctx context.Context) error {
	spec := types.DVSCreateSpec{ConfigSpec: &types.VMwareDVSConfigSpec{
		DVSConfigSpec: types.DVSConfigSpec{
			Name:             d.inventory.Switch.Name,
			UplinkPortPolicy: &types.DVSNameArrayUplinkPortPolicy{UplinkPortName: d.inventory.Switch.Uplinks},
			Policy:           &types.DVSPolicy{},
		},
		MaxMtu: 1500,
		LinkDiscoveryProtocolConfig: &types.LinkDiscoveryProtocolConfig{
			Protocol:  string(types.LinkDiscoveryProtocolConfigProtocolTypeCdp),
			Operation: string(types.LinkDiscoveryProtocolConfigOperationTypeListen),
		},
	}}
	task, err := d.folders.NetworkFolder.CreateDVS(ctx, spec)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return err
	}
	d.dvs = d.registry.Get(info.Result.(types.ManagedObjectReference)).(*simulator.DistributedVirtualSwitch)
	if err := d.joinHosts(ctx); err != nil {
		return err
	}
	return d.markUplinks()
}

// markUplinks tells the port group of the physical ports from those of machines.
func (d *datacentre) markUplinks() error {
	if len(d.dvs.Portgroup) != 1 {
		return fmt.Errorf("a new switch has %d port groups instead of one for its uplinks", len(d.dvs.Portgroup))
	}
	config := d.dvs.Config.(*types.VMwareDVSConfigInfo)
	config.UplinkPortgroup = slices.Clone(d.dvs.Portgroup)
	d.registry.Get(d.dvs.Portgroup[0]).(*simulator.DistributedVirtualPortgroup).Config.Uplink = types.NewBool(true)
	return nil
}

// addTemplatePortgroup makes the network that templates are attached to until a
// clone is given its own. A template without any network cannot be cloned.
func (d *datacentre) addTemplatePortgroup(ctx context.Context) (*object.DistributedVirtualPortgroup, error) {
	return d.addPortgroup(ctx, types.DVPortgroupConfigSpec{
		Name:     d.dvs.Name + "-templates",
		Type:     string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
		NumPorts: 8,
	})
}

func (d *datacentre) addPortgroup(ctx context.Context, spec types.DVPortgroupConfigSpec) (*object.DistributedVirtualPortgroup, error) {
	before := len(d.dvs.Portgroup)
	task, err := object.NewDistributedVirtualSwitch(d.client, d.dvs.Self).AddPortgroup(ctx, []types.DVPortgroupConfigSpec{spec})
	if err != nil {
		return nil, err
	}
	if err := task.Wait(ctx); err != nil {
		return nil, err
	}
	return object.NewDistributedVirtualPortgroup(d.client, d.dvs.Portgroup[before]), nil
}

func (d *datacentre) joinHosts(ctx context.Context) error {
	spec := &types.DVSConfigSpec{}
	for _, name := range d.inventory.hosts() {
		spec.Host = append(spec.Host, types.DistributedVirtualSwitchHostMemberConfigSpec{
			Operation: string(types.ConfigSpecOperationAdd),
			Host:      d.hosts[name].Reference(),
		})
	}
	task, err := object.NewDistributedVirtualSwitch(d.client, d.dvs.Self).Reconfigure(ctx, spec)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// switchManager also looks a switch up by its UUID, which is the first thing the
// provider does with one.
type switchManager struct {
	simulator.DistributedVirtualSwitchManager
}

func (d *datacentre) replaceSwitchManager() {
	manager := &switchManager{}
	manager.Self = *d.client.ServiceContent.DvSwitchManager
	d.registry.Put(manager)
}

// QueryDvsByUuid answers nothing, not a fault, for an unknown UUID, as vCenter does.
func (m *switchManager) QueryDvsByUuid(ctx *simulator.Context, req *types.QueryDvsByUuid) soap.HasFault {
	body := &methods.QueryDvsByUuidBody{Res: &types.QueryDvsByUuidResponse{}}
	for _, entity := range ctx.Map.All("DistributedVirtualSwitch") {
		if dvs := entity.(*simulator.DistributedVirtualSwitch); dvs.Uuid == req.Uuid {
			body.Res.Returnval = &dvs.Self
		}
	}
	return body
}

// CreateDVPortgroupTask adds one port group. The simulator only adds several at
// once, and that task does not tell what it made; this one has the new port
// group as its result before it is seen as complete.
func (a *additions) CreateDVPortgroupTask(ctx *simulator.Context, req *types.CreateDVPortgroup_Task) soap.HasFault {
	dvs := ctx.Map.Get(req.This).(*simulator.DistributedVirtualSwitch)
	task := simulator.CreateTask(dvs, "createDVPortgroupTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		before := len(dvs.Portgroup)
		add := dvs.AddDVPortgroupTask(ctx, &types.AddDVPortgroup_Task{
			This: dvs.Self,
			Spec: []types.DVPortgroupConfigSpec{req.Spec},
		}).(*methods.AddDVPortgroup_TaskBody)
		if fault := waitFor(ctx, add.Res.Returnval); fault != nil {
			return nil, fault
		}
		return dvs.Portgroup[before], nil
	})
	return &methods.CreateDVPortgroup_TaskBody{
		Res: &types.CreateDVPortgroup_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// waitFor blocks until an inner task is done. The inner task runs under the same
// context and so shares the locks of the outer one.
func waitFor(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	task := ctx.Map.Get(ref).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return task.Info.Error.Fault
	}
	return nil
}

// leaveHosts takes a port group that is gone from its hosts and their cluster.
func leaveHosts(ctx *simulator.Context, portgroup types.ManagedObjectReference) {
	for _, entity := range ctx.Map.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		ctx.Map.RemoveReference(ctx, host, &host.Network, portgroup)
	}
	for _, entity := range ctx.Map.All("ClusterComputeResource") {
		cluster := entity.(*simulator.ClusterComputeResource)
		ctx.Map.RemoveReference(ctx, cluster, &cluster.Network, portgroup)
	}
}
