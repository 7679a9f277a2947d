package main

import (
	"slices"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (l *lab) theSwitch() mo.VmwareDistributedVirtualSwitch {
	l.t.Helper()
	switches := all(l, switchOutside, func(s mo.VmwareDistributedVirtualSwitch) string { return s.Name })
	dvs, ok := switches["sn-dvs01"]
	if !ok {
		l.t.Fatalf("the switch is not among %v", names(switches))
	}
	return dvs
}

func TestSwitchHasItsRealTypeUplinksAndHosts(t *testing.T) {
	dvs := startLab(t).theSwitch()
	if dvs.Self.Type != switchOutside {
		t.Errorf("type %s", dvs.Self.Type)
	}
	policy := dvs.Config.GetDVSConfigInfo().UplinkPortPolicy.(*types.DVSNameArrayUplinkPortPolicy)
	if len(policy.UplinkPortName) != 2 || len(dvs.Config.GetDVSConfigInfo().UplinkPortgroup) != 1 {
		t.Errorf("uplinks %v in %v", policy.UplinkPortName, dvs.Config.GetDVSConfigInfo().UplinkPortgroup)
	}
	if len(dvs.Summary.HostMember) != 4 {
		t.Errorf("%d hosts are members", len(dvs.Summary.HostMember))
	}
}

func TestSwitchIsFoundByUUID(t *testing.T) {
	l := startLab(t)
	dvs := l.theSwitch()
	manager := *l.client.ServiceContent.DvSwitchManager
	for id, want := range map[string]bool{dvs.Uuid: true, "no-such-uuid": false} {
		found, err := methods.QueryDvsByUuid(l.ctx, l.client, &types.QueryDvsByUuid{This: manager, Uuid: id})
		l.must(err)
		if (found.Returnval != nil) != want {
			t.Errorf("%s: found %v, want %v", id, found.Returnval, want)
		}
		if want && *found.Returnval != dvs.Self {
			t.Errorf("%s is %v, want %v", id, found.Returnval, dvs.Self)
		}
	}
}

func TestPortGroupIsTheResultOfItsTask(t *testing.T) {
	l := startLab(t)
	dvs := l.theSwitch()
	res, err := methods.CreateDVPortgroup_Task(l.ctx, l.client, &types.CreateDVPortgroup_Task{
		This: dvs.Self,
		Spec: types.DVPortgroupConfigSpec{
			Name: "grabow-srv", Type: "earlyBinding", NumPorts: 8,
			DefaultPortConfig: &types.VMwareDVSPortSetting{
				Vlan: &types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: 1210},
			},
		},
	})
	l.must(err)
	info := l.wait(object.NewTask(l.client.Client, res.Returnval), nil)
	ref, ok := info.Result.(types.ManagedObjectReference)
	if !ok {
		t.Fatalf("the task's result is %T", info.Result)
	}
	var portgroup mo.DistributedVirtualPortgroup
	l.must(object.NewCommon(l.client.Client, ref).Properties(l.ctx, ref, nil, &portgroup))
	vlan := portgroup.Config.DefaultPortConfig.(*types.VMwareDVSPortSetting).Vlan.(*types.VmwareDistributedVirtualSwitchVlanIdSpec)
	if portgroup.Name != "grabow-srv" || vlan.VlanId != 1210 || *portgroup.Config.DistributedVirtualSwitch != dvs.Self {
		t.Errorf("%s with VLAN %d on %v", portgroup.Name, vlan.VlanId, portgroup.Config.DistributedVirtualSwitch)
	}
	l.wait(object.NewCommon(l.client.Client, ref).Destroy(l.ctx))
	for name, host := range all(l, "HostSystem", hostName) {
		if slices.Contains(host.Network, ref) {
			t.Errorf("%s still has the port group that was destroyed", name)
		}
	}
	if _, err := methods.CreateDVPortgroup_Task(l.ctx, l.client, &types.CreateDVPortgroup_Task{
		This: types.ManagedObjectReference{Type: switchOutside, Value: "dvs-999"},
	}); err == nil {
		t.Error("a switch that does not exist took a port group")
	}
}

func TestClusterAnswersToItsBaseType(t *testing.T) {
	l := startLab(t)
	cluster, err := l.finder.ClusterComputeResource(l.ctx, "sn-cluster01")
	l.must(err)
	ref := types.ManagedObjectReference{Type: "ComputeResource", Value: cluster.Reference().Value}
	var properties mo.ComputeResource
	l.must(object.NewCommon(l.client.Client, ref).Properties(l.ctx, ref, []string{"name", "host"}, &properties))
	if properties.Name != "sn-cluster01" || len(properties.Host) != 4 {
		t.Errorf("%s with %d hosts", properties.Name, len(properties.Host))
	}
}
