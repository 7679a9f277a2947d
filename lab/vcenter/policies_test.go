package main

import (
	"fmt"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
)

func (l *lab) policyOf(kind, key string) string {
	l.t.Helper()
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	res, err := methods.PbmQueryAssociatedProfile(l.ctx, client, &pbmtypes.PbmQueryAssociatedProfile{
		This:   client.ServiceContent.ProfileManager,
		Entity: pbmtypes.PbmServerObjectRef{ObjectType: kind, Key: key},
	})
	l.must(err)
	if len(res.Returnval) == 0 {
		return ""
	}
	return res.Returnval[0].UniqueId
}

func chosen(id string) []types.BaseVirtualMachineProfileSpec {
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
}

func (l *lab) firstDisk(vm *object.VirtualMachine) *types.VirtualDisk {
	l.t.Helper()
	devices, err := vm.Device(l.ctx)
	l.must(err)
	return devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
}

func TestPoliciesOfMachineAndDiskReadBack(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-fs01")
	disk := l.firstDisk(vm)
	l.reconfigure(vm, types.VirtualMachineConfigSpec{
		VmProfile: chosen("home-policy"),
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk, Profile: chosen("disk-policy"),
		}},
	})
	id := vm.Reference().Value
	diskKey := fmt.Sprintf("%s:%d", id, l.firstDisk(vm).Key)
	if have := l.policyOf("virtualMachine", id); have != "home-policy" {
		t.Errorf("the machine has %q", have)
	}
	if have := l.policyOf("virtualDiskId", diskKey); have != "disk-policy" {
		t.Errorf("the disk has %q", have)
	}
	l.reconfigure(vm, types.VirtualMachineConfigSpec{
		VmProfile: []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineEmptyProfileSpec{}},
	})
	if have := l.policyOf("virtualMachine", id); have != "" {
		t.Errorf("taken away, but still %q", have)
	}
	l.wait(vm.Destroy(l.ctx))
	if have := l.policyOf("virtualDiskId", diskKey); have != "" {
		t.Errorf("destroyed, but the disk still has %q", have)
	}
}
