package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestSwapPlacementReadsBack(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	if have := l.read(vm).Config.SwapPlacement; have != "inherit" {
		t.Errorf("a new machine has %q, want inherit", have)
	}
	l.reconfigure(vm, types.VirtualMachineConfigSpec{SwapPlacement: "hostLocal"})
	if have := l.read(vm).Config.SwapPlacement; have != "hostLocal" {
		t.Errorf("set to hostLocal, read back as %q", have)
	}
}

func TestFailedReconfigurationIsReported(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	task, err := vm.Reconfigure(l.ctx, types.VirtualMachineConfigSpec{GuestId: "noSuchGuest"})
	l.must(err)
	if err := task.Wait(l.ctx); err == nil {
		t.Error("an unknown guest was accepted")
	}
}

func TestHardwareVersionIsThatOfTheTemplates(t *testing.T) {
	l := startLab(t)
	vm := l.read(l.clone("gra-dns01"))
	if vm.Config.Version != "vmx-20" {
		t.Errorf("the clone has version %s", vm.Config.Version)
	}
	res, err := methods.QueryConfigOption(l.ctx, l.client, &types.QueryConfigOption{This: vm.EnvironmentBrowser})
	l.must(err)
	if have := res.Returnval.HardwareOptions.HwVersion; have != hardwareVersion {
		t.Errorf("the environment has version %d", have)
	}
}

func TestTasksAreNamedAfterTheirMethodOrNotAtAll(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	if name := l.wait(vm.Reconfigure(l.ctx, types.VirtualMachineConfigSpec{NumCPUs: 2})).Name; name != "ReconfigVM_Task" {
		t.Errorf("reconfiguring is %q", name)
	}
	if name := l.wait(vm.PowerOn(l.ctx)).Name; name != "" && name != "PowerOnVM_Task" {
		t.Errorf("powering on is %q, which is no method", name)
	}
}

func TestMachineThatIsMadeAgainIsAnotherOne(t *testing.T) {
	l := startLab(t)
	first := l.clone("gra-dns01")
	before := l.read(first).Config
	l.wait(first.Destroy(l.ctx))
	after := l.read(l.clone("gra-dns01")).Config
	if before.Uuid == after.Uuid || before.InstanceUuid == after.InstanceUuid {
		t.Errorf("%s and %s again", after.Uuid, after.InstanceUuid)
	}
}
