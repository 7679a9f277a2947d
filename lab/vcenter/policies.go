package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/vmware/govmomi/pbm/methods"
	pbm "github.com/vmware/govmomi/pbm/simulator"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// policies remembers which storage policy a machine's home and each of its disks
// were given. The simulator keeps the policies but forgets to whom they apply.
type policies struct {
	mutex   sync.Mutex
	applied map[string]string // "vm-7" or "vm-7:2000" (a disk by its key) → policy
}

// profileManager is the simulator's, answering also which policy applies.
type profileManager struct {
	*pbm.ProfileManager

	policies *policies
}

// installPolicies must run before the server is made: the storage policy endpoint
// only comes with it, and takes over what is registered under the same path later.
func installPolicies(machines *simulator.Registry) *policies {
	p := &policies{applied: map[string]string{}}
	simulator.RegisterEndpoint(func(service *simulator.Service, _ *simulator.Registry) {
		registry := pbm.New()
		for _, object := range registry.AllReference("PbmProfileProfileManager") {
			profiles := &profileManager{object.(*pbm.ProfileManager), p}
			registry.Put(profiles)
			registry.Put(&compliance{
				ManagedObjectReference: complianceManager, policies: p, machines: machines, profiles: profiles,
				tags: func() tagDirectory { return tagsOf(service) },
				last: map[pbmtypes.PbmServerObjectRef]pbmtypes.PbmComplianceResult{},
			})
		}
		service.RegisterSDK(registry)
	})
	return p
}

// record keeps what a finished reconfiguration said about policies. The devices of
// the request have their final keys by then.
func (p *policies) record(vm types.ManagedObjectReference, spec *types.VirtualMachineConfigSpec) {
	p.apply(vm.Value, spec.VmProfile)
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		if _, ok := device.Device.(*types.VirtualDisk); !ok {
			continue
		}
		key := fmt.Sprintf("%s:%d", vm.Value, device.Device.GetVirtualDevice().Key)
		if device.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			p.forget(key)
			continue
		}
		p.apply(key, device.Profile)
	}
}

func (p *policies) apply(key string, profiles []types.BaseVirtualMachineProfileSpec) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, profile := range profiles {
		switch chosen := profile.(type) {
		case *types.VirtualMachineDefinedProfileSpec:
			p.applied[key] = chosen.ProfileId
		case *types.VirtualMachineEmptyProfileSpec, *types.VirtualMachineDefaultProfileSpec:
			delete(p.applied, key)
		}
	}
}

// forget drops a disk, or a machine with all its disks.
func (p *policies) forget(key string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for applied := range p.applied {
		if applied == key || strings.HasPrefix(applied, key+":") {
			delete(p.applied, applied)
		}
	}
}

func (p *policies) of(entity pbmtypes.PbmServerObjectRef) []pbmtypes.PbmProfileId {
	if id, ok := p.idOf(entity); ok {
		return []pbmtypes.PbmProfileId{id}
	}
	return nil
}

func (p *policies) idOf(entity pbmtypes.PbmServerObjectRef) (pbmtypes.PbmProfileId, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	id, ok := p.applied[entity.Key]
	return pbmtypes.PbmProfileId{UniqueId: id}, ok
}

func (m *profileManager) PbmQueryAssociatedProfile(req *pbmtypes.PbmQueryAssociatedProfile) soap.HasFault {
	return &methods.PbmQueryAssociatedProfileBody{
		Res: &pbmtypes.PbmQueryAssociatedProfileResponse{Returnval: m.policies.of(req.Entity)},
	}
}

func (m *profileManager) PbmQueryAssociatedProfiles(req *pbmtypes.PbmQueryAssociatedProfiles) soap.HasFault {
	response := &pbmtypes.PbmQueryAssociatedProfilesResponse{}
	for _, entity := range req.Entities {
		response.Returnval = append(response.Returnval, pbmtypes.PbmQueryProfileResult{
			Object: entity, ProfileId: m.policies.of(entity),
		})
	}
	return &methods.PbmQueryAssociatedProfilesBody{Res: response}
}
