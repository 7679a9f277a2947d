package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"gopkg.in/yaml.v3"
)

// driversAtOnce bounds how many guests start or stop at the same time; each is a
// whole operating system booting.
const driversAtOnce = 4

// driverGrace is how long a driver that was asked to end may take.
const driverGrace = 10 * time.Second

const hostKeyOption = "guestinfo.ssh.host_key"

// guests gives virtual machines a body: a machine that is powered on has a guest
// that the driver started, one that is not has none. The driver's calls are
// asynchronous, one after another per machine.
type guests struct {
	driver   string
	registry *simulator.Registry
	slots    chan struct{}
	// starting ends when no more guests are wanted, and with it the starts under way.
	starting context.Context
	noMore   context.CancelFunc

	mutex  sync.Mutex
	queues map[types.ManagedObjectReference]*queue
}

// queue holds what is still to do for one machine's guest.
type queue struct {
	steps   []step
	busy    bool
	started bool // the driver was asked to start a guest and not yet to stop it
	who     guestName
}

// step is one thing to do. A quick one does not wait for its turn among the guests
// that start and stop.
type step struct {
	run   func()
	quick bool
}

// guestName is how the driver knows a guest.
type guestName struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

// guestSpec is what the driver needs to start a guest.
type guestSpec struct {
	guestName
	CPUs      int32       `json:"cpus"`
	MemoryMiB int32       `json:"memory_mib"`
	GuestInfo guestInfo   `json:"guestinfo"`
	Disks     []guestDisk `json:"disks"`
}

type guestInfo struct {
	Metadata string `json:"metadata"`
	Userdata string `json:"userdata"`
}

type guestDisk struct {
	Label         string `json:"label"`
	UnitNumber    int32  `json:"unit_number"`
	Path          string `json:"path"`
	CapacityBytes int64  `json:"capacity_bytes"`
}

// guestReply is what the driver says of a guest that answers.
type guestReply struct {
	Address string `json:"address"`
	HostKey string `json:"host_key"`
}

func newGuests(driver string, registry *simulator.Registry) *guests {
	starting, noMore := context.WithCancel(context.Background())
	return &guests{
		driver:   driver,
		registry: registry,
		starting: starting,
		noMore:   noMore,
		slots:    make(chan struct{}, driversAtOnce),
		queues:   map[types.ManagedObjectReference]*queue{},
	}
}

// powerChanged is called with the machine locked.
func (g *guests) powerChanged(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	if vm == nil {
		return
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		g.enqueue(vm.Self, func(q *queue) { g.start(vm.Self, q) })
		return
	}
	forget(ctx, vm)
	g.enqueue(vm.Self, g.stop)
}

// restart is called with the machine locked.
func (g *guests) restart(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	forget(ctx, vm)
	g.enqueue(vm.Self, g.stop)
	g.enqueue(vm.Self, func(q *queue) { g.start(vm.Self, q) })
}

// kill ends a guest as a loss of power does: its services are not stopped. It is called
// before the machine is shown as switched off.
func (g *guests) kill(ref types.ManagedObjectReference) {
	g.enqueueStep(ref, true, func(q *queue) { g.end("kill", q) })
}

// removed ends a guest for good: with its machine, its system disk goes too.
func (g *guests) removed(ref types.ManagedObjectReference) {
	g.enqueue(ref, func(q *queue) {
		g.stop(q)
		if q.who.Name == "" {
			return // it never had a guest
		}
		log.Printf("guest %s: discard", q.who.Name)
		if err := g.call(context.Background(), "discard", q.who, nil); err != nil {
			log.Printf("guest %s: did not discard: %v", q.who.Name, err)
		}
	})
}

// enqueue adds a step to a machine's queue and works the queue off in the
// background unless somebody already does.
func (g *guests) enqueue(ref types.ManagedObjectReference, run func(*queue)) {
	g.enqueueStep(ref, false, run)
}

func (g *guests) enqueueStep(ref types.ManagedObjectReference, quick bool, run func(*queue)) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	q := g.queues[ref]
	if q == nil {
		q = &queue{}
		g.queues[ref] = q
	}
	q.steps = append(q.steps, step{func() { run(q) }, quick})
	if !q.busy {
		q.busy = true
		go g.work(q)
	}
}

func (g *guests) work(q *queue) {
	for {
		g.mutex.Lock()
		if len(q.steps) == 0 {
			q.busy = false
			g.mutex.Unlock()
			return
		}
		next := q.steps[0]
		q.steps = q.steps[1:]
		g.mutex.Unlock()
		if next.quick {
			next.run()
			continue
		}
		g.slots <- struct{}{}
		next.run()
		<-g.slots
	}
}

func (g *guests) start(ref types.ManagedObjectReference, q *queue) {
	ctx := newContext(g.registry)
	vm := machine(ctx, ref)
	if vm == nil || q.started || g.starting.Err() != nil {
		return
	}
	spec, wanted, err := describeGuest(ctx, vm)
	if !wanted {
		return
	}
	if err == nil {
		q.who, q.started = spec.guestName, true
		log.Printf("guest %s: starting", spec.Name)
		err = g.startAndReport(ctx, vm, spec)
	}
	if err != nil {
		log.Printf("guest %s: did not start: %v", spec.Name, err)
		postEvent(ctx, vm, fmt.Sprintf("The guest did not start: %v", err))
	}
}

func (g *guests) startAndReport(ctx *simulator.Context, vm *simulator.VirtualMachine, spec guestSpec) error {
	var reply guestReply
	if err := g.call(g.starting, "start", spec, &reply); err != nil {
		return err
	}
	if _, err := netip.ParseAddr(reply.Address); err != nil {
		return fmt.Errorf("the guest driver answered without a valid address: %w", err)
	}
	network, err := parseMetadata(spec.GuestInfo.Metadata)
	if err != nil {
		return err
	}
	log.Printf("guest %s: answers at %s", spec.Name, reply.Address)
	ctx.WithLock(vm, func() {
		// It may have been switched off meanwhile; its stop is then already queued.
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			announce(ctx, vm, network, reply)
		}
	})
	return nil
}

func (g *guests) stop(q *queue) { g.end("stop", q) }

// end has the driver stop or kill a guest.
func (g *guests) end(verb string, q *queue) {
	if !q.started {
		return
	}
	log.Printf("guest %s: %s", q.who.Name, verb)
	if err := g.call(context.Background(), verb, q.who, nil); err != nil {
		log.Printf("guest %s: did not %s: %v", q.who.Name, verb, err)
		return
	}
	q.started = false
}

// stopAll stops every guest and returns when they are gone.
func (g *guests) stopAll() {
	g.noMore()
	var pending sync.WaitGroup
	g.mutex.Lock()
	var refs []types.ManagedObjectReference
	for ref := range g.queues {
		refs = append(refs, ref)
	}
	g.mutex.Unlock()
	for _, ref := range refs {
		pending.Add(1)
		g.enqueue(ref, func(q *queue) {
			defer pending.Done()
			g.stop(q)
		})
	}
	pending.Wait()
}

// call runs the driver with the request on its standard input. When ctx ends, the
// driver is asked to end too and killed if it does not.
func (g *guests) call(ctx context.Context, verb string, request, reply any) error {
	input, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, g.driver, verb)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = driverGrace
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := command.Run(); err != nil {
		if message := strings.TrimSpace(stderr.String()); message != "" {
			return errors.New(message)
		}
		return fmt.Errorf("guest driver %s: %w", verb, err)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), reply); err != nil {
		return fmt.Errorf("guest driver %s: the answer is not JSON: %w", verb, err)
	}
	return nil
}

// describeGuest reads what the driver needs; a machine without customisation
// metadata has no guest.
func describeGuest(ctx *simulator.Context, vm *simulator.VirtualMachine) (spec guestSpec, wanted bool, err error) {
	ctx.WithLock(vm, func() {
		spec = guestSpec{
			guestName: guestName{Name: vm.Name, UUID: vm.Config.Uuid},
			CPUs:      vm.Config.Hardware.NumCPU,
			MemoryMiB: vm.Config.Hardware.MemoryMB,
			Disks:     describeDisks(vm),
		}
		var metadata, userdata error
		spec.GuestInfo.Metadata, wanted, metadata = guestInfoText(vm, "metadata")
		spec.GuestInfo.Userdata, _, userdata = guestInfoText(vm, "userdata")
		err = errors.Join(metadata, userdata)
	})
	return spec, wanted, err
}

// guestInfoText decodes guestinfo.<part>, which is base64 if its encoding says so.
func guestInfoText(vm *simulator.VirtualMachine, part string) (text string, found bool, err error) {
	text, found = extraConfig(vm, "guestinfo."+part)
	encoding, _ := extraConfig(vm, "guestinfo."+part+".encoding")
	switch encoding {
	case "":
		return text, found, nil
	case "base64", "b64":
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", found, fmt.Errorf("guestinfo.%s is not base64: %w", part, err)
		}
		return string(decoded), found, nil
	}
	return "", found, fmt.Errorf("guestinfo.%s.encoding %q is not understood; base64 is", part, encoding)
}

func extraConfig(vm *simulator.VirtualMachine, key string) (string, bool) {
	for _, option := range vm.Config.ExtraConfig {
		if value := option.GetOptionValue(); value != nil && value.Key == key {
			text, ok := value.Value.(string)
			return text, ok
		}
	}
	return "", false
}

func describeDisks(vm *simulator.VirtualMachine) []guestDisk {
	found := []guestDisk{}
	for _, disk := range disks(vm) {
		backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo)
		if !ok || disk.UnitNumber == nil {
			continue
		}
		item := guestDisk{
			UnitNumber:    *disk.UnitNumber,
			Path:          backing.GetVirtualDeviceFileBackingInfo().FileName,
			CapacityBytes: disk.CapacityInBytes,
		}
		if disk.DeviceInfo != nil {
			item.Label = disk.DeviceInfo.GetDescription().Label
		}
		found = append(found, item)
	}
	slices.SortFunc(found, func(a, b guestDisk) int { return cmp.Compare(a.UnitNumber, b.UnitNumber) })
	return found
}

// guestNetwork is the part of the customisation metadata that VMware Tools would
// report back from inside the guest.
type guestNetwork struct {
	Hostname string `yaml:"local-hostname"`
	Network  struct {
		Ethernets map[string]struct {
			Addresses []string `yaml:"addresses"`
			Gateway4  string   `yaml:"gateway4"`
			Routes    []struct {
				To  string `yaml:"to"`
				Via string `yaml:"via"`
			} `yaml:"routes"`
			Nameservers struct {
				Addresses []string `yaml:"addresses"`
			} `yaml:"nameservers"`
		} `yaml:"ethernets"`
	} `yaml:"network"`
}

func parseMetadata(text string) (guestNetwork, error) {
	var network guestNetwork
	if err := yaml.Unmarshal([]byte(text), &network); err != nil {
		return network, fmt.Errorf("guestinfo.metadata is not YAML: %w", err)
	}
	return network, nil
}

// prefixAndGateway finds the prefix length and the default gateway that go with
// an address. An address that is not declared stands alone.
func (n guestNetwork) prefixAndGateway(address string) (prefix int32, gateway string) {
	for _, ethernet := range n.Network.Ethernets {
		for _, declared := range ethernet.Addresses {
			parsed, err := netip.ParsePrefix(declared)
			if err != nil || parsed.Addr().String() != address {
				continue
			}
			gateway = ethernet.Gateway4
			for _, route := range ethernet.Routes {
				if route.To == "default" || route.To == "0.0.0.0/0" {
					gateway = route.Via
				}
			}
			return int32(parsed.Bits()), gateway
		}
	}
	return 32, ""
}

// announce reports the guest as VMware Tools would.
func announce(ctx *simulator.Context, vm *simulator.VirtualMachine, network guestNetwork, reply guestReply) {
	prefix, gateway := network.prefixAndGateway(reply.Address)
	ctx.Update(vm, []types.PropertyChange{
		{Name: "config.extraConfig", Val: withOption(vm.Config.ExtraConfig, hostKeyOption, reply.HostKey)},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
		{Name: "guest.hostName", Val: network.Hostname},
		{Name: "summary.guest.hostName", Val: network.Hostname},
		{Name: "summary.guest.ipAddress", Val: reply.Address},
		{Name: "guest.ipAddress", Val: reply.Address},
		{Name: "guest.ipStack", Val: defaultRoute(network.Hostname, gateway)},
		{Name: "guest.net", Val: nicsWith(vm.Guest.Net, reply.Address, prefix)},
	})
}

// forget takes back what was reported; a machine without guest has no address.
func forget(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	ctx.Update(vm, []types.PropertyChange{
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
		{Name: "summary.guest.ipAddress", Val: ""},
		{Name: "guest.ipAddress", Val: ""},
		{Name: "guest.ipStack", Val: []types.GuestStackInfo{}},
		{Name: "guest.net", Val: nicsWith(vm.Guest.Net, "", 0)},
	})
}

// nicsWith copies the network cards, with the address on the first one.
func nicsWith(nics []types.GuestNicInfo, address string, prefix int32) []types.GuestNicInfo {
	nics = slices.Clone(nics)
	for i := range nics {
		nics[i].IpAddress, nics[i].IpConfig = nil, nil
		nics[i].Connected = address != ""
		if i == 0 && address != "" {
			nics[i].IpAddress = []string{address}
			nics[i].IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{{
				IpAddress:    address,
				PrefixLength: prefix,
				State:        string(types.NetIpConfigInfoIpAddressStatusPreferred),
			}}}
		}
	}
	return nics
}

func defaultRoute(hostname, gateway string) []types.GuestStackInfo {
	stack := types.GuestStackInfo{DnsConfig: &types.NetDnsConfigInfo{HostName: hostname}}
	if gateway != "" {
		stack.IpRouteConfig = &types.NetIpRouteConfigInfo{IpRoute: []types.NetIpRouteConfigInfoIpRoute{{
			Network: "0.0.0.0",
			Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway, Device: "0"},
		}}}
	}
	return []types.GuestStackInfo{stack}
}

func withOption(options []types.BaseOptionValue, key, value string) []types.BaseOptionValue {
	kept := slices.DeleteFunc(slices.Clone(options), func(option types.BaseOptionValue) bool {
		return option.GetOptionValue().Key == key
	})
	return append(kept, &types.OptionValue{Key: key, Value: value})
}

// postEvent records an error in vCenter's event list, under the machine.
func postEvent(ctx *simulator.Context, vm *simulator.VirtualMachine, message string) {
	manager := ctx.Map.EventManager()
	ctx.WithLock(manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{EventToPost: &types.VmMessageErrorEvent{
			VmEvent: types.VmEvent{Event: types.Event{Vm: &types.VmEventArgument{
				EntityEventArgument: types.EntityEventArgument{Name: vm.Name},
				Vm:                  vm.Self,
			}}},
			Message: message,
		}})
	})
}

// newContext is the identity under which one background job takes locks and posts
// events.
func newContext(registry *simulator.Registry) *simulator.Context {
	return &simulator.Context{
		Context: context.Background(),
		Map:     registry,
		Session: &simulator.Session{
			UserSession: types.UserSession{UserName: "vcenter"},
			Registry:    simulator.NewRegistry(),
			Map:         registry,
		},
	}
}
