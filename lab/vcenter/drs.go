package main

import (
	"cmp"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// drs puts running machines on hosts as the cluster's rules ask for. The simulator
// keeps the rules but never acts on them: every clone stays on its template's host.
//
// Only what placement by fire section needs is done: machines of a group run (or
// must not run) on hosts of a group, machines of an anti-affinity rule run on
// different hosts, and otherwise the emptiest host is taken. A host must have all
// datastores of the machine. Affinity between machines and load are not looked at.
type drs struct {
	registry *simulator.Registry
	cluster  types.ManagedObjectReference
	mutex    sync.Mutex
}

// ReconfigureComputeResourceTask has DRS look at the running machines again when
// the cluster's rules or groups have changed.
func (a *additions) ReconfigureComputeResourceTask(ctx *simulator.Context, req *types.ReconfigureComputeResource_Task) (res soap.HasFault) {
	cluster := ctx.Map.Get(req.This).(*simulator.ClusterComputeResource)
	ctx.WithLock(cluster, func() { res = cluster.ReconfigureComputeResourceTask(ctx, req) })
	if body := res.(*methods.ReconfigureComputeResource_TaskBody); body.Res != nil {
		go func() {
			if waitFor(newContext(ctx.Map), body.Res.Returnval) == nil {
				a.drs.balance()
			}
		}()
	}
	return res
}

// balance moves the running machines that break a rule.
func (d *drs) balance() {
	for _, entity := range d.registry.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx := newContext(d.registry)
		running := false
		ctx.WithLock(vm, func() { running = isRunning(vm) })
		if running {
			d.place(vm.Self)
		}
	}
}

// candidate is a host that a machine could run on.
type candidate struct {
	host     types.ManagedObjectReference
	breaks   int // how many rules it would break there
	machines int // how many machines are there already
}

// subject is the machine that is placed, as it was when the placing began.
type subject struct {
	ref        types.ManagedObjectReference
	host       types.ManagedObjectReference
	running    bool
	datastores []types.ManagedObjectReference
}

// place moves a machine to the host where it breaks the fewest rules. A running
// machine is only moved for a rule, one that is about to start also for room.
func (d *drs) place(ref types.ManagedObjectReference) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	ctx := newContext(d.registry)
	vm := machine(ctx, ref)
	if vm == nil {
		return
	}
	var s subject
	ctx.WithLock(vm, func() {
		s = subject{vm.Self, *vm.Runtime.Host, isRunning(vm), slices.Clone(vm.Datastore)}
	})
	candidates := d.candidates(ctx, s)
	if len(candidates) == 0 {
		return
	}
	best := candidates[0]
	current := slices.IndexFunc(candidates, func(c candidate) bool { return c.host == s.host })
	if current >= 0 && (s.running && candidates[current].breaks == best.breaks || best.host == s.host) {
		return
	}
	d.move(ctx, vm, s.host, best.host)
}

// candidates are the hosts that have all the machine's datastores, the best first.
func (d *drs) candidates(ctx *simulator.Context, s subject) []candidate {
	rules := d.rulesAbout(ctx, s.ref)
	var found []candidate
	for _, entity := range d.registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		var machines int
		var usable bool
		ctx.WithLock(host, func() {
			machines = len(without(host.Vm, s.ref))
			usable = host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected &&
				!host.Runtime.InMaintenanceMode && containsAll(host.Datastore, s.datastores)
		})
		if usable {
			found = append(found, candidate{host.Self, rules.broken(ctx, host.Self), machines})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.breaks, b.breaks), cmp.Compare(a.machines, b.machines), cmp.Compare(a.host.Value, b.host.Value))
	})
	return found
}

func isRunning(vm *simulator.VirtualMachine) bool {
	return vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
}

// forget takes a machine that is gone out of the cluster's groups, rules and
// overrides, as vCenter does.
func (d *drs) forget(ctx *simulator.Context, vm types.ManagedObjectReference) {
	cluster := d.registry.Get(d.cluster).(*simulator.ClusterComputeResource)
	ctx.WithLock(cluster, func() {
		config := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
		for _, group := range config.Group {
			if g, ok := group.(*types.ClusterVmGroup); ok {
				g.Vm = without(g.Vm, vm)
			}
		}
		for _, rule := range config.Rule {
			switch r := rule.(type) {
			case *types.ClusterAntiAffinityRuleSpec:
				r.Vm = without(r.Vm, vm)
			case *types.ClusterAffinityRuleSpec:
				r.Vm = without(r.Vm, vm)
			}
		}
		config.DasVmConfig = slices.DeleteFunc(config.DasVmConfig, func(o types.ClusterDasVmConfigInfo) bool { return o.Key == vm })
		config.DrsVmConfig = slices.DeleteFunc(config.DrsVmConfig, func(o types.ClusterDrsVmConfigInfo) bool { return o.Key == vm })
		config.VmOrchestration = slices.DeleteFunc(config.VmOrchestration, func(o types.ClusterVmOrchestrationInfo) bool { return o.Vm == vm })
	})
}

// ruleSet is what the cluster asks of one machine.
type ruleSet struct {
	wanted   [][]types.ManagedObjectReference // run on one of these hosts, each
	unwanted [][]types.ManagedObjectReference // run on none of these hosts, each
	apart    []types.ManagedObjectReference   // run on another host than these machines
}

func (d *drs) rulesAbout(ctx *simulator.Context, vm types.ManagedObjectReference) ruleSet {
	var rules ruleSet
	cluster := d.registry.Get(d.cluster).(*simulator.ClusterComputeResource)
	ctx.WithLock(cluster, func() {
		config := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
		machines, hosts := map[string][]types.ManagedObjectReference{}, map[string][]types.ManagedObjectReference{}
		for _, group := range config.Group {
			switch g := group.(type) {
			case *types.ClusterVmGroup:
				machines[g.Name] = g.Vm
			case *types.ClusterHostGroup:
				hosts[g.Name] = g.Host
			}
		}
		for _, rule := range config.Rule {
			if enabled := rule.GetClusterRuleInfo().Enabled; enabled != nil && !*enabled {
				continue
			}
			switch r := rule.(type) {
			case *types.ClusterVmHostRuleInfo:
				if !slices.Contains(machines[r.VmGroupName], vm) {
					continue
				}
				if r.AffineHostGroupName != "" {
					rules.wanted = append(rules.wanted, slices.Clone(hosts[r.AffineHostGroupName]))
				}
				if r.AntiAffineHostGroupName != "" {
					rules.unwanted = append(rules.unwanted, slices.Clone(hosts[r.AntiAffineHostGroupName]))
				}
			case *types.ClusterAntiAffinityRuleSpec:
				if slices.Contains(r.Vm, vm) {
					rules.apart = append(rules.apart, without(r.Vm, vm)...)
				}
			}
		}
	})
	return rules
}

// broken counts the rules a machine would break on a host.
func (rules ruleSet) broken(ctx *simulator.Context, host types.ManagedObjectReference) int {
	count := 0
	for _, hosts := range rules.wanted {
		if !slices.Contains(hosts, host) {
			count++
		}
	}
	for _, hosts := range rules.unwanted {
		if slices.Contains(hosts, host) {
			count++
		}
	}
	for _, other := range rules.apart {
		vm := machine(ctx, other)
		if vm == nil {
			continue
		}
		ctx.WithLock(vm, func() {
			if isRunning(vm) && *vm.Runtime.Host == host {
				count++
			}
		})
	}
	return count
}

func (d *drs) move(ctx *simulator.Context, vm *simulator.VirtualMachine, source, target types.ManagedObjectReference) {
	from := d.registry.Get(source).(*simulator.HostSystem)
	to := d.registry.Get(target).(*simulator.HostSystem)
	ctx.Map.RemoveReference(ctx, from, &from.Vm, vm.Self)
	ctx.Map.AddReference(ctx, to, &to.Vm, vm.Self)
	ctx.WithLock(vm, func() {
		ctx.Update(vm, []types.PropertyChange{
			{Name: "runtime.host", Val: &target},
			{Name: "summary.runtime.host", Val: &target},
		})
		log.Printf("DRS: %s moves from %s to %s", vm.Name, from.Name, to.Name)
	})
}

// hostFor is a host that sees all the datastores, by their names: the preferred one,
// or else the emptiest.
func (d *drs) hostFor(ctx *simulator.Context, preferred types.ManagedObjectReference, datastores []string) (types.ManagedObjectReference, types.BaseMethodFault) {
	var refs []types.ManagedObjectReference
	for _, name := range datastores {
		ref := named(ctx, "Datastore", name)
		if ref == nil {
			fault := &types.InvalidDatastore{Name: name}
			fault.FaultMessage = said("lab.datastore.unknown", fmt.Sprintf("Invalid datastore '%s': there is none of that name.", name))
			return preferred, fault
		}
		refs = append(refs, *ref)
	}
	candidates := d.candidates(ctx, subject{datastores: refs})
	if len(candidates) == 0 {
		fault := &types.InvalidDatastore{Name: strings.Join(datastores, ", ")}
		fault.FaultMessage = said("lab.datastore.unreachable", fmt.Sprintf("No connected host sees all of these datastores: %s.", strings.Join(datastores, ", ")))
		return preferred, fault
	}
	if slices.ContainsFunc(candidates, func(c candidate) bool { return c.host == preferred }) {
		return preferred, nil
	}
	return candidates[0].host, nil
}

// reach sees to it that a machine is on a host that sees more datastores than now;
// only one that is switched off can be put elsewhere. The caller holds its lock.
func (d *drs) reach(ctx *simulator.Context, vm *simulator.VirtualMachine, more []string) types.BaseMethodFault {
	if len(more) == 0 {
		return nil
	}
	for _, ref := range vm.Datastore {
		if ds, ok := ctx.Map.Get(ref).(*simulator.Datastore); ok {
			more = append(more, ds.Name)
		}
	}
	host, fault := d.hostFor(ctx, *vm.Runtime.Host, more)
	switch {
	case fault != nil:
		return fault
	case host == *vm.Runtime.Host:
		return nil
	case isRunning(vm):
		fault := &types.InvalidDatastore{Name: strings.Join(more, ", ")}
		fault.FaultMessage = said("lab.datastore.unreachable", fmt.Sprintf("The host that %s runs on does not see all of these datastores: %s.", vm.Name, strings.Join(more, ", ")))
		return fault
	}
	d.move(ctx, vm, *vm.Runtime.Host, host)
	return nil
}

func containsAll(all, some []types.ManagedObjectReference) bool {
	return !slices.ContainsFunc(some, func(ref types.ManagedObjectReference) bool { return !slices.Contains(all, ref) })
}

func without(refs []types.ManagedObjectReference, ref types.ManagedObjectReference) []types.ManagedObjectReference {
	return slices.DeleteFunc(slices.Clone(refs), func(r types.ManagedObjectReference) bool { return r == ref })
}
