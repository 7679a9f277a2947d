package main

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A datastore cluster is a StoragePod in the API. The simulator makes them without
// a configuration, keeps only two of its settings, lets no datastore out again and
// cannot delete or rename one. Storage DRS itself is not simulated: nothing is moved,
// and a machine must be told its datastore.

// podDefaults is what a new datastore cluster has in vSphere 8 (API reference,
// StorageDrsPodConfigInfo and what it refers to). Storage DRS is off.
func podDefaults() types.StorageDrsPodConfigInfo {
	return types.StorageDrsPodConfigInfo{
		DefaultVmBehavior:      string(types.StorageDrsPodConfigInfoBehaviorManual),
		DefaultIntraVmAffinity: types.NewBool(true),
		IoLoadBalanceEnabled:   true,
		LoadBalanceInterval:    480,
		SpaceLoadBalanceConfig: &types.StorageDrsSpaceLoadBalanceConfig{
			SpaceThresholdMode:            string(types.StorageDrsSpaceLoadBalanceConfigSpaceThresholdModeUtilization),
			SpaceUtilizationThreshold:     80,
			FreeSpaceThresholdGB:          50,
			MinSpaceUtilizationDifference: 5,
		},
		IoLoadBalanceConfig: &types.StorageDrsIoLoadBalanceConfig{
			ReservablePercentThreshold: 60,
			ReservableThresholdMode:    string(types.StorageDrsPodConfigInfoBehaviorAutomated),
			IoLatencyThreshold:         15,
			IoLoadImbalanceThreshold:   5,
		},
		AutomationOverrides: &types.StorageDrsAutomationConfig{},
	}
}

// CreateStoragePod makes a datastore cluster with a complete configuration.
func (a *additions) CreateStoragePod(ctx *simulator.Context, req *types.CreateStoragePod) soap.HasFault {
	folder := ctx.Map.Get(req.This).(*simulator.Folder)
	var body *methods.CreateStoragePodBody
	ctx.WithLock(folder, func() { body = folder.CreateStoragePod(ctx, req).(*methods.CreateStoragePodBody) })
	if body.Res != nil {
		pod := ctx.Map.Get(body.Res.Returnval).(*simulator.StoragePod)
		ctx.WithLock(pod, func() {
			pod.Summary = &types.StoragePodSummary{Name: pod.Name}
			pod.PodStorageDrsEntry.StorageDrsConfig.PodConfig = podDefaults()
		})
	}
	return body
}

// ConfigureStorageDrsForPodTask keeps every setting.
func (a *additions) ConfigureStorageDrsForPodTask(ctx *simulator.Context, req *types.ConfigureStorageDrsForPod_Task) soap.HasFault {
	pod, ok := ctx.Map.Get(req.Pod).(*simulator.StoragePod)
	if !ok {
		return &methods.ConfigureStorageDrsForPod_TaskBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.Pod})}
	}
	task := simulator.CreateTask(pod, "configureStorageDrsForPodTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		entry := *pod.PodStorageDrsEntry
		config := &entry.StorageDrsConfig
		if spec := req.Spec.PodConfigSpec; spec != nil {
			settings := *spec
			settings.Option = nil
			overlay(&config.PodConfig, &settings)
			config.PodConfig.Option = withOptions(config.PodConfig.Option, spec.Option)
		}
		for _, override := range req.Spec.VmConfigSpec {
			config.VmConfig = withOverride(config.VmConfig, override)
		}
		ctx.Update(pod, []types.PropertyChange{{Name: "podStorageDrsEntry", Val: &entry}})
		return nil, nil
	})
	return &methods.ConfigureStorageDrsForPod_TaskBody{
		Res: &types.ConfigureStorageDrsForPod_TaskResponse{Returnval: task.Run(ctx)},
	}
}

// withOptions adds or replaces advanced options; removing one is an operation.
func withOptions(present []types.BaseOptionValue, specs []types.StorageDrsOptionSpec) []types.BaseOptionValue {
	for _, spec := range specs {
		if spec.Option == nil {
			continue
		}
		option := spec.Option.GetOptionValue()
		present = slices.DeleteFunc(slices.Clone(present), func(o types.BaseOptionValue) bool { return o.GetOptionValue().Key == option.Key })
		if spec.Operation != types.ArrayUpdateOperationRemove && option.Value != "" {
			present = append(present, spec.Option)
		}
	}
	return present
}

// withOverride sets or removes what holds for one machine only.
func withOverride(present []types.StorageDrsVmConfigInfo, spec types.StorageDrsVmConfigSpec) []types.StorageDrsVmConfigInfo {
	key, _ := spec.RemoveKey.(types.ManagedObjectReference)
	if spec.Info != nil && spec.Info.Vm != nil {
		key = *spec.Info.Vm
	}
	present = slices.DeleteFunc(slices.Clone(present), func(o types.StorageDrsVmConfigInfo) bool { return o.Vm != nil && *o.Vm == key })
	if spec.Operation != types.ArrayUpdateOperationRemove && spec.Info != nil {
		present = append(present, *spec.Info)
	}
	return present
}

// MoveIntoFolderTask moves datastores between folders and datastore clusters, which
// the simulator does only on the way in. Everything else it does itself.
func (a *additions) MoveIntoFolderTask(ctx *simulator.Context, req *types.MoveIntoFolder_Task) (res soap.HasFault) {
	target, list := children(ctx, req.This)
	if slices.ContainsFunc(req.List, func(ref types.ManagedObjectReference) bool { return ref.Type != "Datastore" }) {
		folder, ok := target.(*simulator.Folder)
		if !ok {
			return &methods.MoveIntoFolder_TaskBody{Fault_: simulator.Fault("only datastores go into a datastore cluster", &types.NotSupported{})}
		}
		ctx.WithLock(folder, func() { res = folder.MoveIntoFolderTask(ctx, req) })
		return res
	}
	task := simulator.CreateTask(target, "moveIntoFolderTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		for _, ref := range req.List {
			ds, ok := ctx.Map.Get(ref).(*simulator.Datastore)
			if !ok {
				return nil, &types.ManagedObjectNotFound{}
			}
			leaveFolder(ctx, *ds.Parent, ref)
			ctx.Map.AddReference(ctx, target, list, ref)
			parent := target.Reference()
			ctx.WithLock(ds, func() { ctx.Update(ds, []types.PropertyChange{{Name: "parent", Val: &parent}}) })
		}
		// Only the cluster that this task holds: two tasks that each hold one and wait for the other's would never end.
		if pod, ok := target.(*simulator.StoragePod); ok {
			a.space.refreshPod(ctx, pod)
		}
		return nil, nil
	})
	return &methods.MoveIntoFolder_TaskBody{Res: &types.MoveIntoFolder_TaskResponse{Returnval: task.Run(ctx)}}
}

// DestroyTask deletes a datastore cluster. vSphere would take the datastores in it
// along; nobody here wants that, so it is refused.
func (a *additions) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	pod := ctx.Map.Get(req.This).(*simulator.StoragePod)
	task := simulator.CreateTask(pod, "destroyTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if len(pod.ChildEntity) > 0 {
			fault := &types.ResourceInUse{Type: pod.Self.Type, Name: pod.Name}
			fault.FaultMessage = said("lab.pod.notEmpty", fmt.Sprintf("The datastore cluster '%s' still has datastores.", pod.Name))
			return nil, fault
		}
		leaveFolder(ctx, *pod.Parent, pod.Self)
		ctx.Map.Remove(ctx, pod.Self)
		return nil, nil
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task.Run(ctx)}}
}

// RenameTask renames a datastore, also where its name is repeated, or a datastore
// cluster. Paths of files on a datastore change with its name.
func (a *additions) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	entity := ctx.Map.Get(req.This).(mo.Entity)
	inUse := req.This.Type == "Datastore" && len(machinesOn(ctx, req.This)) > 0
	task := simulator.CreateTask(entity, "renameTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if taken := named(ctx, req.This.Type, req.NewName); taken != nil {
			return nil, &types.DuplicateName{Name: req.NewName, Object: *taken}
		}
		if inUse {
			fault := &types.ResourceInUse{Type: req.This.Type, Name: entity.Entity().Name}
			fault.FaultMessage = said("lab.datastore.rename", "The lab renames a datastore only while no machine lies on it.")
			return nil, fault
		}
		ctx.Update(entity, []types.PropertyChange{{Name: "name", Val: req.NewName}, {Name: "summary.name", Val: req.NewName}})
		return nil, nil
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task.Run(ctx)}}
}

func named(ctx *simulator.Context, kind, name string) *types.ManagedObjectReference {
	for _, entity := range ctx.Map.All(kind) {
		if entity.Entity().Name == name {
			ref := entity.Reference()
			return &ref
		}
	}
	return nil
}
