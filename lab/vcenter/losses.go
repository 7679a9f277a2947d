package main

import (
	"fmt"
	"log"
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// losses is what has failed in the data centre, and how it shows in vCenter. Only the
// lab's own control socket makes something fail; no call of the vSphere API does.
//
// A host that is lost or cut off is "not responding", its machines end without being
// shut down and show as disconnected and switched off. A datastore can be read while
// it is not lost itself and one of the fire sections that hold a copy of it stands.
// What is left to do then is HA's.
//
// Different from the real thing: failures are noticed at once; a machine that has lost
// a disk ends (in vSphere it hangs, and the response to permanent device loss ends it
// only if it is set to); and a host without network takes its machines along, whatever
// the isolation response, because a guest of the lab cannot be cut off its network.
type losses struct {
	registry  *simulator.Registry
	inventory inventory
	array     *array
	drs       *drs
	guests    *guests
	ha        *ha

	mutex      sync.Mutex
	sections   map[string]bool
	hosts      map[string]bool
	datastores map[string]bool
	uplinks    map[string]map[string]bool // by host
}

// target names one thing that is lost or restored.
type target struct {
	Section   string `json:"section,omitempty"`
	Host      string `json:"host,omitempty"`
	Datastore string `json:"datastore,omitempty"`
	Link      *link  `json:"link,omitempty"`
}

type link struct {
	Host   string `json:"host"`
	Uplink string `json:"uplink"`
}

func newLosses(d *datacentre, array *array, scheduler *drs, machines *guests) *losses {
	l := &losses{
		registry: d.registry, inventory: d.inventory, array: array, drs: scheduler, guests: machines,
		sections: map[string]bool{}, hosts: map[string]bool{}, datastores: map[string]bool{}, uplinks: map[string]map[string]bool{},
	}
	l.ha = newHA(d, scheduler)
	return l
}

// set notes that something is lost or is there again, and makes it so.
func (l *losses) set(t target, lost bool) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := l.note(t, lost); err != nil {
		return err
	}
	ctx := newContext(l.registry)
	if t.Link != nil {
		l.postUplink(ctx, *t.Link, lost)
	}
	l.applyDatastores(ctx)
	l.applyHosts(ctx)
	l.endMachines(ctx)
	l.ha.react()
	return nil
}

func (l *losses) note(t target, lost bool) error {
	switch {
	case t.Section != "" && t == (target{Section: t.Section}):
		if !slices.ContainsFunc(l.inventory.Sections, func(s section) bool { return s.Key == t.Section }) {
			return fmt.Errorf("there is no section %q", t.Section)
		}
		l.sections[t.Section] = lost
	case t.Host != "" && t == (target{Host: t.Host}):
		if !slices.Contains(l.inventory.hosts(), t.Host) {
			return fmt.Errorf("there is no host %q", t.Host)
		}
		l.hosts[t.Host] = lost
	case t.Datastore != "" && t == (target{Datastore: t.Datastore}):
		if named(newContext(l.registry), "Datastore", t.Datastore) == nil {
			return fmt.Errorf("there is no datastore %q", t.Datastore)
		}
		l.datastores[t.Datastore] = lost
	case t.Link != nil && t == (target{Link: t.Link}):
		if !slices.Contains(l.inventory.hosts(), t.Link.Host) || !slices.Contains(l.inventory.Switch.Uplinks, t.Link.Uplink) {
			return fmt.Errorf("there is no uplink %q of a host %q", t.Link.Uplink, t.Link.Host)
		}
		if l.uplinks[t.Link.Host] == nil {
			l.uplinks[t.Link.Host] = map[string]bool{}
		}
		l.uplinks[t.Link.Host][t.Link.Uplink] = lost
	default:
		return fmt.Errorf("exactly one of section, host, datastore, link is needed")
	}
	return nil
}

func (l *losses) sectionOf(host string) string {
	for _, s := range l.inventory.Sections {
		if slices.Contains(s.Hosts, host) {
			return s.Key
		}
	}
	return ""
}

func (l *losses) isolated(host string) bool {
	for _, uplink := range l.inventory.Switch.Uplinks {
		if !l.uplinks[host][uplink] {
			return false
		}
	}
	return true
}

func (l *losses) dead(host string) bool { return l.hosts[host] || l.sections[l.sectionOf(host)] }

// copies are the fire sections that hold a copy of a datastore.
func (l *losses) copies(ds *simulator.Datastore) []string {
	if info, ok := ds.Info.(*types.NasDatastoreInfo); ok {
		e, _ := l.array.find(info.Nas.RemoteHostNames, info.Nas.RemotePath)
		return e.Sections
	}
	for _, store := range l.inventory.Datastores {
		if store.Name == ds.Name {
			return store.Sections
		}
	}
	return nil
}

func (l *losses) readable(ds *simulator.Datastore) bool {
	copies := l.copies(ds)
	gone := len(copies) > 0 && !slices.ContainsFunc(copies, func(s string) bool { return !l.sections[s] })
	return !gone && !l.datastores[ds.Name]
}

func (l *losses) applyDatastores(ctx *simulator.Context) {
	for _, entity := range l.registry.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		var changed bool
		readable := false
		ctx.WithLock(ds, func() {
			readable = l.readable(ds)
			if changed = ds.Summary.Accessible != readable; !changed {
				return
			}
			hosts := slices.Clone(ds.Host)
			for i := range hosts {
				hosts[i].MountInfo.Accessible = types.NewBool(readable)
				hosts[i].MountInfo.InaccessibleReason = ""
				if !readable {
					hosts[i].MountInfo.InaccessibleReason = string(types.HostMountInfoInaccessibleReasonPermanentDeviceLoss)
				}
			}
			ctx.Update(ds, []types.PropertyChange{{Name: "host", Val: hosts}, {Name: "summary.accessible", Val: readable}})
		})
		l.drs.setReadable(ds.Self, readable)
		if changed {
			l.postDatastore(ctx, ds, readable)
		}
	}
}

func (l *losses) applyHosts(ctx *simulator.Context) {
	for _, entity := range l.registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		state := types.HostSystemConnectionStateConnected
		if l.dead(host.Name) || l.isolated(host.Name) {
			state = types.HostSystemConnectionStateNotResponding
		}
		changed := false
		ctx.WithLock(host, func() {
			if changed = host.Runtime.ConnectionState != state; changed {
				ctx.Update(host, []types.PropertyChange{
					{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
				})
			}
		})
		if changed {
			l.postHost(ctx, host, state)
		}
	}
	l.countHosts(ctx)
}

// countHosts keeps the cluster's own summary of what it has left.
func (l *losses) countHosts(ctx *simulator.Context) {
	cluster := ctx.Map.Get(l.drs.cluster).(*simulator.ClusterComputeResource)
	up := int64(0)
	for _, name := range l.inventory.hosts() {
		if !l.dead(name) && !l.isolated(name) {
			up++
		}
	}
	ctx.WithLock(cluster, func() {
		summary := cluster.Summary.GetComputeResourceSummary()
		summary.NumEffectiveHosts = int32(up)
		summary.EffectiveCpu = int32(up) * int32(l.inventory.Host.CPUCores) * l.inventory.Host.CPUMHz
		summary.EffectiveMemory = up * l.inventory.Host.MemoryGiB << 10
	})
}

// endMachines ends what cannot go on, and lets what can be reached again show so.
func (l *losses) endMachines(ctx *simulator.Context) {
	for _, entity := range l.registry.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() {
			state, why := l.fate(ctx, vm)
			if vm.Runtime.ConnectionState != state {
				ctx.Update(vm, []types.PropertyChange{
					{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
				})
			}
			if why.reason == "" || !isRunning(vm) {
				return
			}
			log.Printf("%s ends: %s", vm.Name, why.reason)
			l.ha.failed(vm, why)
			l.guests.kill(vm.Self)
			ctx.Update(vm, []types.PropertyChange{
				{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
				{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
			})
		})
	}
}

// fate is how vCenter shows a machine, and why it cannot run where it is, if so.
func (l *losses) fate(ctx *simulator.Context, vm *simulator.VirtualMachine) (types.VirtualMachineConnectionState, loss) {
	host := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	switch {
	case l.dead(host.Name):
		return types.VirtualMachineConnectionStateDisconnected, loss{ofHost, "its host " + host.Name + " has failed"}
	case l.isolated(host.Name):
		return types.VirtualMachineConnectionStateDisconnected, loss{ofNetwork, "its host " + host.Name + " has lost all its uplinks"}
	}
	for _, ref := range vm.Datastore {
		if ds, ok := ctx.Map.Get(ref).(*simulator.Datastore); ok && !l.drs.isReadable(ref) {
			return types.VirtualMachineConnectionStateInaccessible, loss{ofStorage, "its datastore " + ds.Name + " is lost"}
		}
	}
	return types.VirtualMachineConnectionStateConnected, loss{}
}

// lost lists what is set to be lost.
func (l *losses) lost() []target {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	found := []target{}
	for _, key := range whatIsSet(l.sections) {
		found = append(found, target{Section: key})
	}
	for _, name := range whatIsSet(l.hosts) {
		found = append(found, target{Host: name})
	}
	for _, name := range whatIsSet(l.datastores) {
		found = append(found, target{Datastore: name})
	}
	for _, host := range slices.Sorted(maps.Keys(l.uplinks)) {
		for _, uplink := range whatIsSet(l.uplinks[host]) {
			found = append(found, target{Link: &link{host, uplink}})
		}
	}
	return found
}

func whatIsSet(set map[string]bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] {
			names = append(names, name)
		}
	}
	return names
}
