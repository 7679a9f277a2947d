package main

import (
	"cmp"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
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

	// What is known of machines and datastores without taking their locks: a machine
	// is placed while others are being worked on.
	known      sync.Mutex
	running    map[types.ManagedObjectReference]place
	unreadable map[types.ManagedObjectReference]bool
}

// place is where a running machine is and what it takes there.
type place struct {
	host      types.ManagedObjectReference
	memoryMiB int64
}

func newDRS(d *datacentre) *drs {
	return &drs{
		registry: d.registry, cluster: d.cluster.Reference(),
		running: map[types.ManagedObjectReference]place{}, unreadable: map[types.ManagedObjectReference]bool{},
	}
}

// noted keeps up with a machine that has changed. Its lock is held.
func (d *drs) noted(vm *simulator.VirtualMachine) {
	d.known.Lock()
	defer d.known.Unlock()
	if isRunning(vm) && vm.Runtime.Host != nil && vm.Config != nil {
		d.running[vm.Self] = place{*vm.Runtime.Host, int64(vm.Config.Hardware.MemoryMB)}
	} else {
		delete(d.running, vm.Self)
	}
}

// load is how many machines run on each host, and the memory they are configured with.
func (d *drs) load(except types.ManagedObjectReference) (machines map[types.ManagedObjectReference]int, memoryMiB map[types.ManagedObjectReference]int64) {
	d.known.Lock()
	defer d.known.Unlock()
	machines, memoryMiB = map[types.ManagedObjectReference]int{}, map[types.ManagedObjectReference]int64{}
	for vm, at := range d.running {
		if vm != except {
			machines[at.host]++
			memoryMiB[at.host] += at.memoryMiB
		}
	}
	return machines, memoryMiB
}

func (d *drs) setReadable(datastore types.ManagedObjectReference, readable bool) {
	d.known.Lock()
	defer d.known.Unlock()
	if readable {
		delete(d.unreadable, datastore)
	} else {
		d.unreadable[datastore] = true
	}
}

func (d *drs) isReadable(datastore types.ManagedObjectReference) bool {
	d.known.Lock()
	defer d.known.Unlock()
	return !d.unreadable[datastore]
}

// balance moves the running machines that break a rule, if DRS may do so by itself.
func (d *drs) balance() {
	ctx := newContext(d.registry)
	if !d.automatic(ctx) {
		return
	}
	for _, entity := range d.registry.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		running := false
		ctx.WithLock(vm, func() { running = isRunning(vm) })
		if running {
			_ = d.place(vm.Self)
		}
	}
}

func (d *drs) automatic(ctx *simulator.Context) bool {
	cluster := d.registry.Get(d.cluster).(*simulator.ClusterComputeResource)
	var config types.ClusterDrsConfigInfo
	ctx.WithLock(cluster, func() { config = cluster.ConfigurationEx.(*types.ClusterConfigInfoEx).DrsConfig })
	return config.Enabled != nil && *config.Enabled && config.DefaultVmBehavior == types.DrsBehaviorFullyAutomated
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
	memoryMiB  int64
	datastores []types.ManagedObjectReference
}

// describe is called with the machine locked. After a relocation the simulator knows
// only the datastore that was named in it, so the disks are asked as well.
func describe(ctx *simulator.Context, vm *simulator.VirtualMachine) subject {
	stores := slices.Clone(vm.Datastore)
	for _, disk := range disks(vm) {
		ds := named(ctx, "Datastore", diskDatastore(ctx, disk, nil, vm))
		if ds != nil && !slices.Contains(stores, *ds) {
			stores = append(stores, *ds)
		}
	}
	return subject{vm.Self, *vm.Runtime.Host, isRunning(vm), int64(vm.Config.Hardware.MemoryMB), stores}
}

// place moves a machine to the host where it breaks the fewest rules. A running
// machine is only moved for a rule, one that is about to start also for room.
func (d *drs) place(ref types.ManagedObjectReference) types.BaseMethodFault {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	ctx := newContext(d.registry)
	vm := machine(ctx, ref)
	if vm == nil {
		return &types.ManagedObjectNotFound{Obj: ref}
	}
	var s subject
	ctx.WithLock(vm, func() { s = describe(ctx, vm) })
	candidates, why := d.candidatesOrWhy(ctx, s)
	if len(candidates) == 0 {
		fault := &types.NoCompatibleHost{}
		fault.FaultMessage = said("lab.drs.noHost", fmt.Sprintf("No host is compatible with the virtual machine '%s': %s.", vm.Name, why))
		return fault
	}
	best := candidates[0]
	current := slices.IndexFunc(candidates, func(c candidate) bool { return c.host == s.host })
	if current >= 0 && (s.running && candidates[current].breaks == best.breaks || best.host == s.host) {
		return nil
	}
	d.move(ctx, vm, s.host, best.host)
	return nil
}

// Why there is no host for a machine.
const (
	noHost      = "no connected host is left"
	noDatastore = "no connected host can read all its datastores"
	noRule      = "a rule that must hold allows none of the hosts that are left"
	noMemory    = "no host has enough memory left"
)

func (d *drs) candidates(ctx *simulator.Context, s subject) []candidate {
	found, _ := d.candidatesOrWhy(ctx, s)
	return found
}

// candidatesOrWhy are the connected hosts that can read all the machine's datastores,
// have its memory free and are not forbidden by a rule, the best first; or the last
// condition that none met.
func (d *drs) candidatesOrWhy(ctx *simulator.Context, s subject) (found []candidate, why string) {
	rules := d.rulesAbout(ctx, s.ref)
	machines, memory := d.load(s.ref)
	readable := !slices.ContainsFunc(s.datastores, func(ref types.ManagedObjectReference) bool { return !d.isReadable(ref) })
	reasons := []string{noHost, noDatastore, noRule, noMemory}
	furthest := 0
	for _, entity := range d.registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		var connected, sees bool
		var size int64
		ctx.WithLock(host, func() {
			connected = host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected && !host.Runtime.InMaintenanceMode
			sees = readable && containsAll(host.Datastore, s.datastores)
			size = host.Hardware.MemorySize >> 20
		})
		breaks, forbidden := rules.broken(host.Self, d)
		passed := 0
		for _, met := range []bool{connected, sees, !forbidden, memory[host.Self]+s.memoryMiB <= size} {
			if !met {
				break
			}
			passed++
		}
		if passed == len(reasons) {
			found = append(found, candidate{host.Self, breaks, machines[host.Self]})
		} else {
			furthest = max(furthest, passed)
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.breaks, b.breaks), cmp.Compare(a.machines, b.machines), cmp.Compare(a.host.Value, b.host.Value))
	})
	return found, reasons[furthest]
}

func isRunning(vm *simulator.VirtualMachine) bool {
	return vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
}

// admit is HA's admission control: a machine may start only if, with the share of the
// cluster's memory that is kept for failovers, there is room for it. Memory counts as
// configured. Only the share in percent is looked at.
func (d *drs) admit(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	cluster := d.registry.Get(d.cluster).(*simulator.ClusterComputeResource)
	var das types.ClusterDasConfigInfo
	var total int64
	ctx.WithLock(cluster, func() {
		das = cluster.ConfigurationEx.(*types.ClusterConfigInfoEx).DasConfig
		total = cluster.Summary.GetComputeResourceSummary().TotalMemory >> 20
	})
	policy, ok := das.AdmissionControlPolicy.(*types.ClusterFailoverResourcesAdmissionControlPolicy)
	if !ok || !isTrue(das.Enabled) || !isTrue(das.AdmissionControlEnabled) {
		return nil
	}
	var s subject
	ctx.WithLock(vm, func() { s = describe(ctx, vm) })
	_, memory := d.load(s.ref)
	used := s.memoryMiB
	for _, onHost := range memory {
		used += onHost
	}
	if usable := total * int64(100-policy.MemoryFailoverResourcesPercent) / 100; used > usable {
		fault := &types.InsufficientFailoverResourcesFault{}
		fault.FaultMessage = said("lab.ha.admission", fmt.Sprintf(
			"Insufficient resources to satisfy the configured failover level for vSphere HA: with '%s' %d GiB of memory would be in use, %d GiB may be.",
			vm.Name, used>>10, usable>>10))
		return fault
	}
	return nil
}

// forget takes a machine that is gone out of the cluster's groups, rules and
// overrides, as vCenter does.
func (d *drs) forget(ctx *simulator.Context, vm types.ManagedObjectReference) {
	d.known.Lock()
	delete(d.running, vm)
	d.known.Unlock()
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
	wanted   []hostRule                     // run on one of these hosts, each
	unwanted []hostRule                     // run on none of these hosts, each
	apart    []types.ManagedObjectReference // run on another host than these machines
	// apartMust are those of them that must not be on the same host.
	apartMust []types.ManagedObjectReference
}

type hostRule struct {
	hosts []types.ManagedObjectReference
	must  bool
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
					rules.wanted = append(rules.wanted, hostRule{slices.Clone(hosts[r.AffineHostGroupName]), isTrue(r.Mandatory)})
				}
				if r.AntiAffineHostGroupName != "" {
					rules.unwanted = append(rules.unwanted, hostRule{slices.Clone(hosts[r.AntiAffineHostGroupName]), isTrue(r.Mandatory)})
				}
			case *types.ClusterAntiAffinityRuleSpec:
				if slices.Contains(r.Vm, vm) {
					rules.apart = append(rules.apart, without(r.Vm, vm)...)
					if isTrue(r.Mandatory) {
						rules.apartMust = append(rules.apartMust, without(r.Vm, vm)...)
					}
				}
			}
		}
	})
	return rules
}

// broken counts the rules a machine would break on a host, and tells whether one of
// them must hold.
func (rules ruleSet) broken(host types.ManagedObjectReference, d *drs) (count int, must bool) {
	for _, rule := range rules.wanted {
		if !slices.Contains(rule.hosts, host) {
			count, must = count+1, must || rule.must
		}
	}
	for _, rule := range rules.unwanted {
		if slices.Contains(rule.hosts, host) {
			count, must = count+1, must || rule.must
		}
	}
	d.known.Lock()
	defer d.known.Unlock()
	for _, other := range rules.apart {
		if at, ok := d.running[other]; ok && at.host == host {
			count, must = count+1, must || slices.Contains(rules.apartMust, other)
		}
	}
	return count, must
}

func isTrue(value *bool) bool { return value != nil && *value }

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
		if isRunning(vm) {
			post(ctx, &types.DrsVmMigratedEvent{VmMigratedEvent: types.VmMigratedEvent{
				VmEvent: types.VmEvent{Event: aboutCluster(ctx, d.cluster, to, vm)}, SourceHost: hostArgument(from),
			}})
		}
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
