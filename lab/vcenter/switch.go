package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// switchType is the kind that a real vCenter gives its switches and that the
// vSphere provider asks for by name. The simulator calls every switch by the
// abstract base type instead, so the switch is not made through its folder.
const switchType = "VmwareDistributedVirtualSwitch"

func (d *datacentre) addSwitch(ctx context.Context) error {
	name := d.inventory.Switch.Name
	about := d.client.ServiceContent.About
	dvs := &simulator.DistributedVirtualSwitch{}
	dvs.Self.Type = switchType
	dvs.Name = name
	dvs.Entity().Name = name
	// Derived from the name, so that a restarted lab has the same switch.
	dvs.Uuid = uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
	d.attach(d.folders.NetworkFolder, dvs)
	dvs.Summary = types.DVSSummary{
		Name: name,
		Uuid: dvs.Uuid,
		ProductInfo: &types.DistributedVirtualSwitchProductSpec{
			Name: "DVS", Vendor: about.Vendor, Version: about.Version, Build: about.Build,
			ForwardingClass: "etherswitch",
		},
	}
	dvs.Config = &types.VMwareDVSConfigInfo{
		DVSConfigInfo: types.DVSConfigInfo{
			Uuid:             dvs.Uuid,
			Name:             name,
			UplinkPortPolicy: &types.DVSNameArrayUplinkPortPolicy{UplinkPortName: d.inventory.Switch.Uplinks},
			Policy:           &types.DVSPolicy{},
			DefaultPortConfig: &types.VMwareDVSPortSetting{
				Vlan: &types.VmwareDistributedVirtualSwitchVlanIdSpec{},
			},
		},
		LinkDiscoveryProtocolConfig: &types.LinkDiscoveryProtocolConfig{
			Protocol:  string(types.LinkDiscoveryProtocolConfigProtocolTypeCdp),
			Operation: string(types.LinkDiscoveryProtocolConfigOperationTypeListen),
		},
		MaxMtu: 1500,
	}
	d.dvs = dvs
	if err := d.addUplinks(ctx); err != nil {
		return err
	}
	return d.joinHosts(ctx)
}

// addUplinks makes the port group of the physical ports, as every real switch has it.
func (d *datacentre) addUplinks(ctx context.Context) error {
	portgroup, err := d.addPortgroup(ctx, types.DVPortgroupConfigSpec{
		Name:     d.dvs.Name + "-DVUplinks",
		Type:     string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
		NumPorts: int32(len(d.inventory.Switch.Uplinks)),
		DefaultPortConfig: &types.VMwareDVSPortSetting{
			Vlan: &types.VmwareDistributedVirtualSwitchTrunkVlanSpec{
				VlanId: []types.NumericRange{{Start: 0, End: 4094}},
			},
		},
	})
	if err != nil {
		return err
	}
	d.registry.Get(portgroup.Reference()).(*simulator.DistributedVirtualPortgroup).Config.Uplink = types.NewBool(true)
	config := d.dvs.Config.(*types.VMwareDVSConfigInfo)
	config.UplinkPortgroup = append(config.UplinkPortgroup, portgroup.Reference())
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

// switchManager looks switches up. It replaces the simulator's, which searches
// by the abstract type and cannot look a switch up by its UUID.
type switchManager struct {
	mo.DistributedVirtualSwitchManager
}

func (d *datacentre) replaceSwitchManager() {
	ref := *d.client.ServiceContent.DvSwitchManager
	d.registry.Put(&switchManager{mo.DistributedVirtualSwitchManager{Self: ref}})
}

func findSwitch(ctx *simulator.Context, id string) *simulator.DistributedVirtualSwitch {
	for _, entity := range ctx.Map.All(switchType) {
		if dvs := entity.(*simulator.DistributedVirtualSwitch); dvs.Uuid == id {
			return dvs
		}
	}
	return nil
}

// QueryDvsByUuid answers nothing, not a fault, for an unknown UUID, as vCenter does.
func (m *switchManager) QueryDvsByUuid(ctx *simulator.Context, req *types.QueryDvsByUuid) soap.HasFault {
	body := &methods.QueryDvsByUuidBody{Res: &types.QueryDvsByUuidResponse{}}
	if dvs := findSwitch(ctx, req.Uuid); dvs != nil {
		body.Res.Returnval = &dvs.Self
	}
	return body
}

func (m *switchManager) DVSManagerLookupDvPortGroup(ctx *simulator.Context, req *types.DVSManagerLookupDvPortGroup) soap.HasFault {
	body := &methods.DVSManagerLookupDvPortGroupBody{}
	if dvs := findSwitch(ctx, req.SwitchUuid); dvs != nil {
		for _, ref := range dvs.Portgroup {
			if ref.Value == req.PortgroupKey {
				body.Res = &types.DVSManagerLookupDvPortGroupResponse{Returnval: &ref}
				return body
			}
		}
	}
	body.Fault_ = simulator.Fault("", new(types.NotFound))
	return body
}

// CreateDVPortgroupTask adds one port group. The simulator only adds several at
// once, and that task does not tell what it made; this one has the new port
// group as its result before it is seen as complete.
func (a *additions) CreateDVPortgroupTask(ctx *simulator.Context, req *types.CreateDVPortgroup_Task) soap.HasFault {
	dvs := ctx.Map.Get(req.This).(*simulator.DistributedVirtualSwitch)
	task := simulator.CreateTask(dvs, "createDVPortgroup", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
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
