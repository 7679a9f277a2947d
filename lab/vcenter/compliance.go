package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// tagNamespace is that of requirements on a datastore's tags; the capability is called
// like the tags' category.
const tagNamespace = "http://www.vmware.com/storage/tag"

var complianceManager = types.ManagedObjectReference{Type: "PbmComplianceManager", Value: "complianceManager"}

// compliance tells whether machines' homes and disks lie on datastores that satisfy the
// storage policies they were given. The simulator knows no compliance at all.
//
// Only requirements on tags can be judged; where a policy asks for anything else, the
// answer is "unknown".
type compliance struct {
	types.ManagedObjectReference

	policies *policies
	machines *simulator.Registry // the main API's
	profiles *profileManager
	tags     func() tagDirectory

	mutex sync.Mutex
	last  map[pbmtypes.PbmServerObjectRef]pbmtypes.PbmComplianceResult
}

// tagDirectory is how the simulator's tags can be asked from within.
type tagDirectory interface {
	sync.Locker
	AttachedTags(of types.ManagedObjectReference) ([]string, types.BaseMethodFault)
	GetTagByCategoryAndName(category, name string) (string, types.BaseMethodFault)
}

// tagsOf finds the tags behind their REST endpoint.
func tagsOf(service *simulator.Service) tagDirectory {
	handler, _ := service.ServeMux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: rest.Path + "/"}})
	return handler.(tagDirectory)
}

// PbmCheckCompliance judges now, and remembers the answers. Whatever is not in the
// inventory is left out, as is what no policy applies to.
func (c *compliance) PbmCheckCompliance(ctx *simulator.Context, req *pbmtypes.PbmCheckCompliance) soap.HasFault {
	body := &methods.PbmCheckComplianceBody{}
	found, fault := c.asked(req.Entities)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &pbmtypes.PbmCheckComplianceResponse{}
	for _, entity := range found {
		if result, ok := c.check(ctx, entity); ok {
			body.Res.Returnval = append(body.Res.Returnval, result)
		}
	}
	return body
}

// PbmFetchComplianceResult repeats what the last check said. What was given another
// policy since is out of date, and what was never checked is unknown.
func (c *compliance) PbmFetchComplianceResult(req *pbmtypes.PbmFetchComplianceResult) soap.HasFault {
	body := &methods.PbmFetchComplianceResultBody{}
	found, fault := c.asked(req.Entities)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &pbmtypes.PbmFetchComplianceResultResponse{}
	for _, entity := range found {
		profile, ok := c.policies.idOf(entity.ref)
		if !ok {
			continue
		}
		body.Res.Returnval = append(body.Res.Returnval, c.remembered(entity.ref, profile))
	}
	return body
}

func (c *compliance) remembered(ref pbmtypes.PbmServerObjectRef, profile pbmtypes.PbmProfileId) pbmtypes.PbmComplianceResult {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	result, ok := c.last[ref]
	if !ok {
		return pbmtypes.PbmComplianceResult{
			Entity: ref, Profile: &profile, ComplianceStatus: string(pbmtypes.PbmComplianceStatusUnknown),
		}
	}
	if *result.Profile != profile {
		result.ComplianceStatus, result.Mismatch = string(pbmtypes.PbmComplianceStatusOutOfDate), true
		result.Profile = &profile
	}
	return result
}

// placed is a machine's home or a disk, and the datastore that it lies on.
type placed struct {
	ref       pbmtypes.PbmServerObjectRef
	datastore types.ManagedObjectReference
}

// asked are those entities that there are; asking for nothing that there is, is an error.
func (c *compliance) asked(entities []pbmtypes.PbmServerObjectRef) ([]placed, types.BaseMethodFault) {
	var found []placed
	for _, entity := range entities {
		found = append(found, c.placed(entity)...)
	}
	if len(found) == 0 {
		return nil, &types.InvalidArgument{InvalidProperty: "entities"}
	}
	return found, nil
}

func (c *compliance) placed(entity pbmtypes.PbmServerObjectRef) []placed {
	id, _, _ := strings.Cut(entity.Key, ":")
	ctx := newContext(c.machines)
	vm := machine(ctx, types.ManagedObjectReference{Type: "VirtualMachine", Value: id})
	if vm == nil {
		return nil
	}
	var all []placed
	ctx.WithLock(vm, func() { all = homeAndDisks(ctx, vm) })
	return slices.DeleteFunc(all, func(p placed) bool {
		return entity.ObjectType != string(pbmtypes.PbmObjectTypeVirtualMachineAndDisks) &&
			(p.ref.ObjectType != entity.ObjectType || p.ref.Key != entity.Key)
	})
}

// homeAndDisks: the machine's lock is held.
func homeAndDisks(ctx *simulator.Context, vm *simulator.VirtualMachine) []placed {
	var found []placed
	add := func(kind pbmtypes.PbmObjectType, key, file string) {
		var place object.DatastorePath
		if !place.FromString(file) {
			return
		}
		if ref := named(ctx, "Datastore", place.Datastore); ref != nil {
			found = append(found, placed{pbmtypes.PbmServerObjectRef{ObjectType: string(kind), Key: key}, *ref})
		}
	}
	add(pbmtypes.PbmObjectTypeVirtualMachine, vm.Self.Value, vm.Config.Files.VmPathName)
	for _, device := range object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.GetVirtualDevice()
		if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			key := fmt.Sprintf("%s:%d", vm.Self.Value, disk.Key)
			add(pbmtypes.PbmObjectTypeVirtualDiskId, key, backing.GetVirtualDeviceFileBackingInfo().FileName)
		}
	}
	return found
}

// check judges one entity; false if no policy applies to it.
func (c *compliance) check(ctx *simulator.Context, entity placed) (pbmtypes.PbmComplianceResult, bool) {
	profile, ok := c.policies.idOf(entity.ref)
	if !ok {
		return pbmtypes.PbmComplianceResult{}, false
	}
	status, violated := c.judge(ctx, profile, entity.datastore)
	result := pbmtypes.PbmComplianceResult{
		CheckTime: time.Now(), Entity: entity.ref, Profile: &profile,
		ComplianceTaskStatus: string(pbmtypes.PbmComplianceResultComplianceTaskStatusSuccess),
		ComplianceStatus:     string(status), ViolatedPolicies: violated,
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.last[entity.ref] = result
	return result, true
}

// judge: a datastore has to satisfy every requirement of one of the policy's rule sets.
func (c *compliance) judge(
	ctx *simulator.Context, profile pbmtypes.PbmProfileId, datastore types.ManagedObjectReference,
) (pbmtypes.PbmComplianceStatus, []pbmtypes.PbmCompliancePolicyStatus) {
	sets, ok := c.ruleSets(ctx, profile)
	if !ok {
		return pbmtypes.PbmComplianceStatusUnknown, nil
	}
	tags := c.tags()
	tags.Lock()
	defer tags.Unlock()
	attached, fault := tags.AttachedTags(datastore)
	if fault != nil {
		return pbmtypes.PbmComplianceStatusUnknown, nil
	}
	var violated []pbmtypes.PbmCompliancePolicyStatus
	for _, set := range sets {
		var missed []pbmtypes.PbmCompliancePolicyStatus
		for _, capability := range set.Capability {
			if !satisfied(tags, attached, capability) {
				missed = append(missed, pbmtypes.PbmCompliancePolicyStatus{ExpectedValue: capability})
			}
		}
		if len(missed) == 0 {
			return pbmtypes.PbmComplianceStatusCompliant, nil
		}
		violated = append(violated, missed...)
	}
	return pbmtypes.PbmComplianceStatusNonCompliant, violated
}

// ruleSets of a policy that asks for nothing but tags; false for any other.
func (c *compliance) ruleSets(ctx *simulator.Context, profile pbmtypes.PbmProfileId) ([]pbmtypes.PbmCapabilitySubProfile, bool) {
	var content *methods.PbmRetrieveContentBody
	ctx.WithLock(c.profiles, func() {
		wanted := &pbmtypes.PbmRetrieveContent{ProfileIds: []pbmtypes.PbmProfileId{profile}}
		content = c.profiles.PbmRetrieveContent(wanted).(*methods.PbmRetrieveContentBody)
	})
	if content.Res == nil || len(content.Res.Returnval) != 1 {
		return nil, false
	}
	policy, ok := content.Res.Returnval[0].(pbmtypes.BasePbmCapabilityProfile)
	if !ok {
		return nil, false
	}
	constraints, ok := policy.GetPbmCapabilityProfile().Constraints.(*pbmtypes.PbmCapabilitySubProfileConstraints)
	if !ok || len(constraints.SubProfiles) == 0 {
		return nil, false
	}
	for _, set := range constraints.SubProfiles {
		for _, capability := range set.Capability {
			if capability.Id.Namespace != tagNamespace {
				return nil, false
			}
		}
	}
	return constraints.SubProfiles, true
}

// satisfied: one of the capability's constraints holds, with all its properties.
func satisfied(tags tagDirectory, attached []string, capability pbmtypes.PbmCapabilityInstance) bool {
	return slices.ContainsFunc(capability.Constraint, func(constraint pbmtypes.PbmCapabilityConstraintInstance) bool {
		return !slices.ContainsFunc(constraint.PropertyInstance, func(property pbmtypes.PbmCapabilityPropertyInstance) bool {
			values, _ := property.Value.(pbmtypes.PbmCapabilityDiscreteSet)
			carries := slices.ContainsFunc(values.Values, func(value types.AnyType) bool {
				name, _ := value.(string)
				id, fault := tags.GetTagByCategoryAndName(capability.Id.Id, name)
				return fault == nil && slices.Contains(attached, id)
			})
			return carries == (property.Operator == string(pbmtypes.PbmCapabilityOperatorNOT))
		})
	})
}
