package main

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Events as vCenter writes them when something fails (API reference; the ids of
// extended events are those of vCenter's event catalogue).

func post(ctx *simulator.Context, event types.BaseEvent) {
	manager := ctx.Map.EventManager()
	ctx.WithLock(manager, func() { manager.PostEvent(ctx, &types.PostEvent{EventToPost: event}) })
}

func (l *losses) base(ctx *simulator.Context, host *simulator.HostSystem) types.Event {
	return aboutCluster(ctx, l.drs.cluster, host, nil)
}

// aboutCluster fills in what an event is about. Nothing is locked: names do not change.
func aboutCluster(ctx *simulator.Context, ref types.ManagedObjectReference, host *simulator.HostSystem, vm *simulator.VirtualMachine) types.Event {
	cluster := ctx.Map.Get(ref).(*simulator.ClusterComputeResource)
	dc := ctx.Map.Any("Datacenter").(*simulator.Datacenter)
	event := types.Event{
		Datacenter: &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: dc.Name}, Datacenter: dc.Self,
		},
		ComputeResource: &types.ComputeResourceEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: cluster.Name}, ComputeResource: cluster.Self,
		},
	}
	if host != nil {
		argument := hostArgument(host)
		event.Host = &argument
	}
	if vm != nil {
		event.Vm = &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self}
	}
	return event
}

func hostArgument(host *simulator.HostSystem) types.HostEventArgument {
	return types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self}
}

func extended(event types.Event, id, severity, message string) *types.EventEx {
	event.FullFormattedMessage = message
	about := event.ComputeResource.ComputeResource
	switch {
	case event.Vm != nil:
		about = event.Vm.Vm
	case event.Ds != nil:
		about = event.Ds.Datastore
	case event.Host != nil:
		about = event.Host.Host
	}
	return &types.EventEx{
		Event: event, EventTypeId: id, Severity: severity, Message: message, ObjectType: about.Type, ObjectId: about.Value,
	}
}

func (l *losses) postHost(ctx *simulator.Context, host *simulator.HostSystem, state types.HostSystemConnectionState) {
	base := l.base(ctx, host)
	if state == types.HostSystemConnectionStateConnected {
		post(ctx, &types.HostConnectedEvent{HostEvent: types.HostEvent{Event: base}})
		return
	}
	post(ctx, &types.HostConnectionLostEvent{HostEvent: types.HostEvent{Event: base}})
	if l.dead(host.Name) {
		post(ctx, &types.DasHostFailedEvent{ClusterEvent: types.ClusterEvent{Event: base}, FailedHost: hostArgument(host)})
	} else {
		post(ctx, &types.DasHostIsolatedEvent{ClusterEvent: types.ClusterEvent{Event: base}, IsolatedHost: hostArgument(host)})
	}
}

func (l *losses) postUplink(ctx *simulator.Context, which link, lost bool) {
	host, ok := ctx.Map.Get(*named(ctx, "HostSystem", which.Host)).(*simulator.HostSystem)
	if !ok {
		return
	}
	base := l.base(ctx, host)
	switch {
	case lost && l.isolated(which.Host):
		post(ctx, extended(base, "esx.problem.net.connectivity.lost", "error", fmt.Sprintf("Lost network connectivity on %s: %s was its last uplink.", which.Host, which.Uplink)))
	case lost:
		post(ctx, extended(base, "esx.problem.net.redundancy.lost", "warning", fmt.Sprintf("Lost uplink redundancy on %s: %s is down.", which.Host, which.Uplink)))
	default:
		post(ctx, extended(base, "esx.clear.net.redundancy.restored", "info", fmt.Sprintf("Uplink %s of %s is up again.", which.Uplink, which.Host)))
	}
}

func (l *losses) postDatastore(ctx *simulator.Context, ds *simulator.Datastore, readable bool) {
	base := l.base(ctx, nil)
	base.Ds = &types.DatastoreEventArgument{EntityEventArgument: types.EntityEventArgument{Name: ds.Name}, Datastore: ds.Self}
	if readable {
		post(ctx, extended(base, "esx.clear.storage.apd.exit", "info", fmt.Sprintf("Datastore '%s' can be read again.", ds.Name)))
	} else {
		post(ctx, extended(base, "esx.problem.scsi.device.state.permanentloss", "error", fmt.Sprintf("Datastore '%s' is lost permanently, as far as its hosts can tell.", ds.Name)))
	}
}
