package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/types"
)

func (l *lab) powerOn(vm *object.VirtualMachine) {
	l.t.Helper()
	l.wait(vm.PowerOn(l.ctx))
}

func (l *lab) powerOff(vm *object.VirtualMachine) {
	l.t.Helper()
	l.wait(vm.PowerOff(l.ctx))
}

func (l *lab) waitForCalls(count int) []string {
	l.t.Helper()
	l.eventually(fmt.Sprintf("%d calls of the driver", count), func() bool { return len(l.calls()) >= count })
	return l.calls()
}

func (l *lab) address(vm *object.VirtualMachine) string { return l.read(vm).Guest.IpAddress }

func TestPoweredOnMachineIsAGuest(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.eventually("the guest answers", func() bool { return l.address(vm) == "10.64.12.11" })
	properties := l.read(vm)
	if properties.Guest.HostName != "gra-dns01" || properties.Guest.ToolsRunningStatus != "guestToolsRunning" {
		t.Errorf("%s, tools %s", properties.Guest.HostName, properties.Guest.ToolsRunningStatus)
	}
	nic := properties.Guest.Net[0].IpConfig.IpAddress[0]
	if nic.IpAddress != "10.64.12.11" || nic.PrefixLength != 24 {
		t.Errorf("card has %s/%d", nic.IpAddress, nic.PrefixLength)
	}
	if gateway := properties.Guest.IpStack[0].IpRouteConfig.IpRoute[0].Gateway.IpAddress; gateway != "10.64.12.1" {
		t.Errorf("gateway %s", gateway)
	}
	if key, _ := object.OptionValueList(properties.Config.ExtraConfig).GetString(hostKeyOption); key != "ssh-ed25519 AAAATEST" {
		t.Errorf("host key %q", key)
	}
	call := l.calls()[0]
	for _, part := range []string{
		`start {"name":"gra-dns01","uuid":"`, `local-hostname: gra-dns01\n`, `"userdata":"#cloud-config\n"`,
		`"unit_number":0,"path":"[sn-mirror01] gra-dns01/gra-dns01.vmdk","capacity_bytes":21474836480`,
	} {
		if !strings.Contains(call, part) {
			t.Errorf("%s is not in %s", part, call)
		}
	}
}

func TestPoweredOffMachineIsNone(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.eventually("the guest answers", func() bool { return l.address(vm) != "" })
	l.powerOff(vm)
	if address := l.address(vm); address != "" {
		t.Errorf("switched off, but still at %s", address)
	}
	calls := l.waitForCalls(2)
	if !strings.HasPrefix(calls[1], `stop {"name":"gra-dns01","uuid":"`) {
		t.Errorf("second call: %s", calls[1])
	}
	l.wait(vm.Destroy(l.ctx))
	calls = l.waitForCalls(3)
	if !strings.HasPrefix(calls[2], `discard {"name":"gra-dns01","uuid":"`) {
		t.Errorf("with the machine its system disk was to go: %s", calls[2])
	}
	time.Sleep(100 * time.Millisecond)
	if calls := l.calls(); len(calls) != 3 {
		t.Errorf("a stopped guest was stopped again: %v", calls)
	}
}

func TestShutdownAndRebootReachTheGuest(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.eventually("the guest answers", func() bool { return l.address(vm) != "" })
	l.must(vm.RebootGuest(l.ctx))
	l.waitForCalls(3)
	l.eventually("the guest answers again", func() bool { return l.address(vm) != "" })
	l.wait(vm.Reset(l.ctx))
	l.waitForCalls(5)
	l.eventually("the guest answers again", func() bool { return l.address(vm) != "" })
	l.must(vm.ShutdownGuest(l.ctx))
	var verbs []string
	for _, call := range l.waitForCalls(6) {
		verbs = append(verbs, strings.Fields(call)[0])
	}
	if have := strings.Join(verbs, " "); have != "start stop start stop start stop" {
		t.Errorf("calls: %s", have)
	}
}

func TestMachineWithoutMetadataHasNoGuest(t *testing.T) {
	l := startLab(t)
	vm := l.clone("foreign01")
	l.reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.metadata", Value: ""},
	}})
	l.powerOn(vm)
	l.powerOff(vm)
	time.Sleep(100 * time.Millisecond)
	if calls := l.calls(); len(calls) != 0 {
		t.Errorf("the driver was called: %v", calls)
	}
}

func TestFailedStartIsAnEventAndTheMachineStaysOn(t *testing.T) {
	l := startLab(t)
	l.write("fail-start", "", 0o600)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.eventually("an event tells why", func() bool {
		events, err := event.NewManager(l.client.Client).QueryEvents(l.ctx, types.EventFilterSpec{})
		l.must(err)
		for _, e := range events {
			failed, ok := e.(*types.VmMessageErrorEvent)
			if ok && failed.Vm.Name == "gra-dns01" && strings.Contains(failed.Message, "the base image is missing") {
				return true
			}
		}
		return false
	})
	properties := l.read(vm)
	if properties.Runtime.PowerState != "poweredOn" || properties.Guest.IpAddress != "" {
		t.Errorf("%s at %q", properties.Runtime.PowerState, properties.Guest.IpAddress)
	}
	// What a failed start may have left behind is the driver's to clean.
	l.powerOff(vm)
	if calls := l.waitForCalls(2); !strings.HasPrefix(calls[1], "stop ") {
		t.Errorf("calls: %v", calls)
	}
}

func TestBadMetadataIsNotCalledAGuest(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.metadata", Value: "not base64 at all!"},
		&types.OptionValue{Key: "guestinfo.metadata.encoding", Value: "base64"},
	}})
	l.powerOn(vm)
	l.powerOff(vm)
	time.Sleep(100 * time.Millisecond)
	if calls := l.calls(); len(calls) != 0 {
		t.Errorf("the driver was called: %v", calls)
	}
}

func TestStoppingStopsEveryGuest(t *testing.T) {
	l := startLab(t)
	for _, name := range []string{"gra-dns01", "gra-dns02"} {
		vm := l.clone(name)
		l.powerOn(vm)
		l.eventually("the guest answers", func() bool { return l.address(vm) != "" })
	}
	l.run.guests.stopAll()
	var stopped int
	for _, call := range l.calls() {
		if strings.HasPrefix(call, "stop ") {
			stopped++
		}
	}
	if stopped != 2 {
		t.Errorf("calls: %v", l.calls())
	}
}

func TestStoppingDoesNotWaitForAStart(t *testing.T) {
	l := startLab(t)
	l.write("slow", "", 0o600)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.waitForCalls(1)
	l.must(os.Remove(l.path("slow")))
	began := time.Now()
	l.run.guests.stopAll()
	if took := time.Since(began); took > driverGrace {
		t.Errorf("took %s", took)
	}
	if calls := l.calls(); len(calls) != 2 || !strings.HasPrefix(calls[1], "stop ") {
		t.Errorf("calls: %v", calls)
	}
}

// The provider waits in this way for a guest, and only ever sees each property
// once: it must get the gateway before the address.
func TestGatewayIsToldBeforeTheAddress(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.eventually("the guest answers", func() bool { return l.address(vm) != "" })
	var order []string
	err := property.Wait(l.ctx, property.DefaultCollector(l.client.Client), vm.Reference(),
		[]string{"guest.net", "guest.ipStack"}, func(changes []types.PropertyChange) bool {
			for _, change := range changes {
				order = append(order, change.Name)
			}
			return true
		})
	l.must(err)
	if strings.Join(order, " ") != "guest.ipStack guest.net" {
		t.Errorf("order: %v", order)
	}
}
