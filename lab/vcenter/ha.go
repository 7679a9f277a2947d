package main

import (
	"cmp"
	"fmt"
	"log"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// ha restarts machines that ended with their host, as the cluster's settings say: in
// the order of their restart priority, on hosts that are left, see all their datastores,
// and have the memory free. What cannot be restarted waits, and is tried again as soon
// as something has come back.
//
// Memory counts as configured, as if all of it were reserved; processors are not
// counted. Rules that must hold are kept; those that should hold are kept where it is
// possible. Dependencies between groups of machines are not looked at.
type ha struct {
	registry *simulator.Registry
	cluster  types.ManagedObjectReference
	drs      *drs

	mutex   sync.Mutex
	waiting map[types.ManagedObjectReference]loss
	told    map[types.ManagedObjectReference]string // why it still stays down
	rounds  int                                     // that are running or wanted

	round sync.Mutex // one after another
}

// loss is why a machine ended.
type loss struct {
	kind   lossKind
	reason string
}

type lossKind int

const (
	ofHost lossKind = iota
	ofNetwork
	ofStorage
)

func newHA(d *datacentre, scheduler *drs) *ha {
	return &ha{
		registry: d.registry, cluster: d.cluster.Reference(), drs: scheduler,
		waiting: map[types.ManagedObjectReference]loss{}, told: map[types.ManagedObjectReference]string{},
	}
}

// priorities in the order in which they are restarted; "disabled" is not among them.
var priorities = []string{"highest", "high", "medium", "low", "lowest"}

// settings is what the cluster says about HA.
type settings struct {
	enabled   bool
	storage   bool // machines are restarted after the loss of a datastore
	isolation bool // machines of a host that is cut off are restarted elsewhere
	priority  string
	condition string
	timeout   time.Duration
	overrides map[types.ManagedObjectReference]string
}

func (h *ha) settings(ctx *simulator.Context) settings {
	cluster := h.registry.Get(h.cluster).(*simulator.ClusterComputeResource)
	s := settings{overrides: map[types.ManagedObjectReference]string{}}
	ctx.WithLock(cluster, func() {
		config := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
		das := config.DasConfig
		s.enabled = das.Enabled != nil && *das.Enabled && das.HostMonitoring == string(types.ClusterDasConfigInfoServiceStateEnabled)
		if vm := das.DefaultVmSettings; vm != nil {
			s.priority, s.timeout = vm.RestartPriority, time.Duration(vm.RestartPriorityTimeout)*time.Second
			s.isolation = vm.IsolationResponse != string(types.ClusterDasVmSettingsIsolationResponseNone)
			if protection := vm.VmComponentProtectionSettings; protection != nil {
				s.storage = protection.VmStorageProtectionForPDL == string(types.ClusterVmComponentProtectionSettingsStorageVmReactionRestartAggressive)
			}
		}
		if config.Orchestration != nil && config.Orchestration.DefaultVmReadiness != nil {
			s.condition = config.Orchestration.DefaultVmReadiness.ReadyCondition
		}
		for _, override := range config.DasVmConfig {
			if override.DasSettings != nil && override.DasSettings.RestartPriority != "" && override.DasSettings.RestartPriority != "clusterRestartPriority" {
				s.overrides[override.Key] = override.DasSettings.RestartPriority
			}
		}
	})
	return s
}

func (s settings) priorityOf(vm types.ManagedObjectReference) string {
	if priority, ok := s.overrides[vm]; ok {
		return priority
	}
	return s.priority
}

// failed notes a machine that has just ended. Its lock is held.
func (h *ha) failed(vm *simulator.VirtualMachine, why loss) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.waiting[vm.Self] = why
}

// forget drops a machine that somebody has started, or deleted, meanwhile.
func (h *ha) forget(vm types.ManagedObjectReference) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.waiting, vm)
	delete(h.told, vm)
}

// pending is what HA would restart, and why it has not yet.
func (h *ha) pending() map[types.ManagedObjectReference]string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found := map[types.ManagedObjectReference]string{}
	for ref, why := range h.waiting {
		found[ref] = why.reason
		if told := h.told[ref]; told != "" {
			found[ref] = told
		}
	}
	return found
}

func (h *ha) settled() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.rounds == 0
}

// react restarts in the background what can be restarted now, and then lets DRS put
// everything where the rules want it.
func (h *ha) react() {
	h.mutex.Lock()
	h.rounds++
	h.mutex.Unlock()
	go func() {
		h.round.Lock()
		defer h.round.Unlock()
		h.restart()
		h.drs.balance()
		h.mutex.Lock()
		h.rounds--
		h.mutex.Unlock()
	}()
}

func (h *ha) restart() {
	ctx := newContext(h.registry)
	s := h.settings(ctx)
	if !s.enabled {
		return
	}
	for _, priority := range priorities {
		var started []*simulator.VirtualMachine
		for _, vm := range h.due(ctx, s, priority) {
			if h.restartMachine(ctx, vm) {
				started = append(started, vm)
			}
		}
		awaitReady(ctx, s, started)
	}
}

// due are the machines of one priority, by name.
func (h *ha) due(ctx *simulator.Context, s settings, priority string) []*simulator.VirtualMachine {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var found []*simulator.VirtualMachine
	for ref, why := range h.waiting {
		vm := machine(ctx, ref)
		if vm != nil && s.priorityOf(ref) == priority && h.responds(ctx, s, why, vm) {
			found = append(found, vm)
		}
	}
	slices.SortFunc(found, func(a, b *simulator.VirtualMachine) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// responds tells whether HA is to act on such a loss. A machine whose host is cut off,
// and is to leave it running, comes back only with its host.
func (h *ha) responds(ctx *simulator.Context, s settings, why loss, vm *simulator.VirtualMachine) bool {
	switch why.kind {
	case ofStorage:
		return s.storage
	case ofNetwork:
		host := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
		return s.isolation || host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected
	}
	return true
}

func (h *ha) restartMachine(ctx *simulator.Context, vm *simulator.VirtualMachine) bool {
	var s subject
	ctx.WithLock(vm, func() { s = describe(ctx, vm) })
	if s.running {
		h.forget(vm.Self)
		return false
	}
	candidates, why := h.drs.candidatesOrWhy(ctx, s)
	if len(candidates) == 0 {
		h.tell(ctx, vm, why)
		return false
	}
	target := candidates[0].host
	if target != s.host {
		h.drs.move(ctx, vm, s.host, target)
	}
	host := ctx.Map.Get(target).(*simulator.HostSystem)
	if fault := powerOn(ctx, vm); fault != nil {
		h.tell(ctx, vm, faultMessage(fault))
		return false
	}
	h.forget(vm.Self)
	log.Printf("HA: %s restarts on %s", vm.Name, host.Name)
	post(ctx, extended(aboutCluster(ctx, h.cluster, host, vm), "com.vmware.vc.ha.VmRestartedByHAEvent", "warning",
		fmt.Sprintf("vSphere HA restarted virtual machine %s on host %s.", vm.Name, host.Name)))
	return true
}

func powerOn(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	var body *methods.PowerOnVM_TaskBody
	ctx.WithLock(vm, func() {
		reconnect(ctx, vm)
		body = vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: vm.Self}).(*methods.PowerOnVM_TaskBody)
	})
	if body.Fault_ != nil {
		return body.Fault_.VimFault().(types.BaseMethodFault)
	}
	return waitFor(ctx, body.Res.Returnval)
}

// reconnect shows a machine as one that vCenter reaches: it is on a host that answers.
// Its lock is held.
func reconnect(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	connected := types.VirtualMachineConnectionStateConnected
	if vm.Runtime.ConnectionState != connected {
		ctx.Update(vm, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: connected}, {Name: "summary.runtime.connectionState", Val: connected},
		})
	}
}

// tell says once why a machine stays down.
func (h *ha) tell(ctx *simulator.Context, vm *simulator.VirtualMachine, why string) {
	h.mutex.Lock()
	known := h.told[vm.Self] == why
	h.told[vm.Self] = why
	h.mutex.Unlock()
	if known {
		return
	}
	log.Printf("HA: %s stays down: %s", vm.Name, why)
	event := types.VmEvent{Event: aboutCluster(ctx, h.cluster, ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem), vm)}
	if why == noMemory {
		post(ctx, &types.NotEnoughResourcesToStartVmEvent{VmEvent: event, Reason: why})
		return
	}
	post(ctx, &types.VmFailoverFailed{VmEvent: event, Reason: &types.LocalizedMethodFault{
		Fault: &types.NoCompatibleHost{}, LocalizedMessage: why,
	}})
}

// awaitReady waits, before the next priority's turn, until the machines of this one
// are ready in the sense of the cluster's setting, but no longer than it allows.
func awaitReady(ctx *simulator.Context, s settings, started []*simulator.VirtualMachine) {
	if s.condition != string(types.ClusterVmReadinessReadyConditionGuestHbStatusGreen) && s.condition != string(types.ClusterVmReadinessReadyConditionAppHbStatusGreen) {
		return
	}
	end := time.Now().Add(s.timeout)
	for _, vm := range started {
		for time.Now().Before(end) {
			ready := false
			ctx.WithLock(vm, func() {
				_, wanted := extraConfig(vm, "guestinfo.metadata")
				ready = !wanted || vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
			})
			if ready {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
