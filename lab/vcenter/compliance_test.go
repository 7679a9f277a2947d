package main

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/types"
)

// policy makes one that asks for datastores with a tag (or, with "NOT", without it), as the provider spells it.
func (l *lab) policy(name, category, operator string, values ...types.AnyType) string {
	l.t.Helper()
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	id, err := client.CreateProfile(l.ctx, pbmtypes.PbmCapabilityProfileCreateSpec{
		Name:         name,
		ResourceType: pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)},
		Constraints: &pbmtypes.PbmCapabilitySubProfileConstraints{SubProfiles: []pbmtypes.PbmCapabilitySubProfile{{
			Name: "tags",
			Capability: []pbmtypes.PbmCapabilityInstance{{
				Id: pbmtypes.PbmCapabilityMetadataUniqueId{Namespace: tagNamespace, Id: category},
				Constraint: []pbmtypes.PbmCapabilityConstraintInstance{{
					PropertyInstance: []pbmtypes.PbmCapabilityPropertyInstance{{
						Id: "com.vmware.storage.tag." + category + ".property", Operator: operator,
						Value: pbmtypes.PbmCapabilityDiscreteSet{Values: values},
					}},
				}},
			}},
		}}},
	})
	l.must(err)
	return id.UniqueId
}

func (l *lab) tagManager() *tags.Manager {
	l.t.Helper()
	client := rest.NewClient(l.client.Client)
	l.must(client.Login(l.ctx, url.UserPassword(testUser, testPassword)))
	return tags.NewManager(client)
}

func (l *lab) compliance(kind, key string) map[string]string {
	l.t.Helper()
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	res, err := methods.PbmCheckCompliance(l.ctx, client, &pbmtypes.PbmCheckCompliance{
		This: client.ServiceContent.ComplianceManager, Entities: []pbmtypes.PbmServerObjectRef{{ObjectType: kind, Key: key}},
	})
	l.must(err)
	return statuses(res.Returnval)
}

func (l *lab) remembered(key string) map[string]string {
	l.t.Helper()
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	results, err := client.FetchComplianceResult(l.ctx, []pbmtypes.PbmServerObjectRef{{ObjectType: "virtualDiskId", Key: key}})
	l.must(err)
	return statuses(results)
}

func statuses(results []pbmtypes.PbmComplianceResult) map[string]string {
	found := map[string]string{}
	for _, result := range results {
		found[result.Entity.Key] = result.ComplianceStatus
	}
	return found
}

func (l *lab) expect(what string, have map[string]string, key, want string) {
	l.t.Helper()
	if have[key] != want {
		l.t.Errorf("%s: %q is %q, not %q (%v)", what, key, have[key], want, have)
	}
}

func (l *lab) give(vm *object.VirtualMachine, home, disk string) {
	l.t.Helper()
	l.reconfigure(vm, types.VirtualMachineConfigSpec{
		VmProfile: chosen(home),
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: l.firstDisk(vm), Profile: chosen(disk),
		}},
	})
}

func TestComplianceFollowsTheDatastoresTags(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-fs01")
	id, disk := vm.Reference().Value, fmt.Sprintf("%s:%d", vm.Reference().Value, l.firstDisk(vm).Key)
	manager := l.tagManager()
	category, err := manager.CreateCategory(l.ctx, &tags.Category{Name: "tier", Cardinality: "SINGLE"})
	l.must(err)
	mirrored, err := manager.CreateTag(l.ctx, &tags.Tag{Name: "mirrored", CategoryID: category})
	l.must(err)
	// Another category's tag of the same name says nothing.
	other, err := manager.CreateCategory(l.ctx, &tags.Category{Name: "colour", Cardinality: "SINGLE"})
	l.must(err)
	namesake, err := manager.CreateTag(l.ctx, &tags.Tag{Name: "mirrored", CategoryID: other})
	l.must(err)
	wants, avoids := l.policy("mirrored", "tier", "", "gold", "mirrored"), l.policy("not mirrored", "tier", "NOT", "mirrored")
	store := l.read(vm).Datastore[0]

	if have := l.compliance("virtualMachineAndDisks", id); len(have) != 0 {
		t.Errorf("without a policy there is nothing to comply with, but: %v", have)
	}
	l.give(vm, avoids, wants)
	l.expect("never checked", l.remembered(disk), disk, "unknown")
	l.must(manager.AttachTag(l.ctx, namesake, store))
	have := l.compliance("virtualMachineAndDisks", id)
	l.expect("no tag", have, id, "compliant")
	l.expect("no tag", have, disk, "nonCompliant")
	l.must(manager.AttachTag(l.ctx, mirrored, store))
	l.expect("not checked again", l.remembered(disk), disk, "nonCompliant")
	have = l.compliance("virtualMachineAndDisks", id)
	l.expect("tagged", have, id, "nonCompliant")
	l.expect("tagged", have, disk, "compliant")
	l.expect("checked", l.remembered(disk), disk, "compliant")
	l.give(vm, avoids, avoids)
	l.expect("another policy since", l.remembered(disk), disk, "outOfDate")
	l.expect("the disk alone", l.compliance("virtualDiskId", disk), disk, "nonCompliant")
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	vsan, err := client.ProfileIDByName(l.ctx, "vSAN Default Storage Policy")
	l.must(err)
	l.give(vm, avoids, vsan)
	l.expect("asks for more than tags", l.compliance("virtualDiskId", disk), disk, "unknown")
}

func TestWhatIsNotThereHasNoCompliance(t *testing.T) {
	l := startLab(t)
	client, err := pbm.NewClient(l.ctx, l.client.Client)
	l.must(err)
	for _, entity := range []pbmtypes.PbmServerObjectRef{
		{ObjectType: "virtualMachine", Key: "vm-0"}, {ObjectType: "datastore", Key: "datastore-1"},
	} {
		if _, err := client.FetchComplianceResult(l.ctx, []pbmtypes.PbmServerObjectRef{entity}); err == nil {
			t.Errorf("%v: no fault", entity)
		}
	}
}
