package main

import (
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// host is the name of the host a machine runs on.
func (l *lab) host(vm *object.VirtualMachine) string {
	l.t.Helper()
	ref := l.read(vm).Runtime.Host
	name, err := object.NewHostSystem(l.client.Client, *ref).ObjectName(l.ctx)
	l.must(err)
	return name
}

func (l *lab) configureCluster(spec types.ClusterConfigSpecEx) {
	l.t.Helper()
	cluster, err := l.finder.ClusterComputeResource(l.ctx, "sn-cluster01")
	l.must(err)
	l.wait(cluster.Reconfigure(l.ctx, &spec, true))
}

func addGroup(info types.BaseClusterGroupInfo) types.ClusterGroupSpec {
	return types.ClusterGroupSpec{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: info,
	}
}

func addRule(info types.BaseClusterRuleInfo) types.ClusterRuleSpec {
	return types.ClusterRuleSpec{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: info,
	}
}

func (l *lab) hostsOf(prefix string) []types.ManagedObjectReference {
	var refs []types.ManagedObjectReference
	for name, host := range all(l, "HostSystem", hostName) {
		if strings.HasPrefix(name, prefix) {
			refs = append(refs, host.Self)
		}
	}
	return refs
}

func TestRunningMachineMovesToItsSection(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	for _, section := range []string{"sn-esx-b", "sn-esx-a"} {
		key := strings.ToUpper(section[len(section)-1:])
		l.configureCluster(types.ClusterConfigSpecEx{
			GroupSpec: []types.ClusterGroupSpec{
				addGroup(&types.ClusterHostGroup{
					ClusterGroupInfo: types.ClusterGroupInfo{Name: "hosts-" + key}, Host: l.hostsOf(section)}),
				addGroup(&types.ClusterVmGroup{
					ClusterGroupInfo: types.ClusterGroupInfo{Name: "machines-" + key},
					Vm:               []types.ManagedObjectReference{vm.Reference()}}),
			},
		})
		rule := &types.ClusterVmHostRuleInfo{
			ClusterRuleInfo: types.ClusterRuleInfo{Name: "rule-" + key, Enabled: types.NewBool(true)},
			VmGroupName:     "machines-" + key, AffineHostGroupName: "hosts-" + key,
		}
		l.configureCluster(types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{addRule(rule)}})
		l.eventually("it runs in "+key, func() bool { return strings.HasPrefix(l.host(vm), section) })
		rule.Enabled = types.NewBool(false)
		l.configureCluster(types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationEdit}, Info: rule}}})
	}
}

func TestMachinesAreKeptApart(t *testing.T) {
	l := startLab(t)
	first, second := l.clone("gra-dns01"), l.clone("gra-dns02")
	// Both on one host, past DRS, as after a failover.
	host, err := l.finder.HostSystem(l.ctx, "sn-esx-a01")
	l.must(err)
	ref := host.Reference()
	for _, vm := range []*object.VirtualMachine{first, second} {
		l.powerOn(vm)
		l.wait(vm.Relocate(l.ctx, types.VirtualMachineRelocateSpec{Host: &ref}, types.VirtualMachineMovePriorityDefaultPriority))
	}
	if l.host(first) != l.host(second) {
		t.Fatal("they are apart already")
	}
	l.configureCluster(types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{addRule(
		&types.ClusterAntiAffinityRuleSpec{
			ClusterRuleInfo: types.ClusterRuleInfo{Name: "apart", Enabled: types.NewBool(true)},
			Vm:              []types.ManagedObjectReference{first.Reference(), second.Reference()},
		})}})
	l.eventually("they are apart", func() bool { return l.host(first) != l.host(second) })
}

func TestMachineStaysWhereItsDatastoreIs(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-db02")
	store, err := l.finder.Datastore(l.ctx, "sn-local-b01")
	l.must(err)
	ref := store.Reference()
	l.wait(vm.Relocate(l.ctx, types.VirtualMachineRelocateSpec{Datastore: &ref}, types.VirtualMachineMovePriorityDefaultPriority))
	l.powerOn(vm)
	if host := l.host(vm); !strings.HasPrefix(host, "sn-esx-b") {
		t.Errorf("its datastore is in section B, it runs on %s", host)
	}
}

func TestDestroyedMachineLeavesTheRules(t *testing.T) {
	l := startLab(t)
	first, second := l.clone("gra-dns01"), l.clone("gra-dns02")
	machines := []types.ManagedObjectReference{first.Reference(), second.Reference()}
	l.configureCluster(types.ClusterConfigSpecEx{
		GroupSpec: []types.ClusterGroupSpec{addGroup(&types.ClusterVmGroup{
			ClusterGroupInfo: types.ClusterGroupInfo{Name: "dns"}, Vm: machines})},
		RulesSpec: []types.ClusterRuleSpec{addRule(&types.ClusterAntiAffinityRuleSpec{
			ClusterRuleInfo: types.ClusterRuleInfo{Name: "apart"}, Vm: machines})},
		DasVmConfigSpec: []types.ClusterDasVmConfigSpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info:            &types.ClusterDasVmConfigInfo{Key: first.Reference()}}},
	})
	l.wait(first.Destroy(l.ctx))
	cluster, err := l.finder.ClusterComputeResource(l.ctx, "sn-cluster01")
	l.must(err)
	config, err := cluster.Configuration(l.ctx)
	l.must(err)
	group := config.Group[0].(*types.ClusterVmGroup).Vm
	rule := config.Rule[0].(*types.ClusterAntiAffinityRuleSpec).Vm
	if len(group) != 1 || group[0] != second.Reference() || len(rule) != 1 || len(config.DasVmConfig) != 0 {
		t.Errorf("group %v, rule %v, overrides %v", group, rule, config.DasVmConfig)
	}
}
