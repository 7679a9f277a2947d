package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// completeCluster gives the cluster the configuration that vSphere 8 gives a new one
// (API reference, ClusterConfigInfoEx), with HA and DRS switched on. The simulator
// leaves most of it empty, and the provider cannot read a cluster like that.
func completeCluster(config *types.ClusterConfigInfoEx) {
	config.DasConfig = types.ClusterDasConfigInfo{
		Enabled:                    types.NewBool(true),
		VmMonitoring:               string(types.ClusterDasConfigInfoVmMonitoringStateVmMonitoringDisabled),
		HostMonitoring:             string(types.ClusterDasConfigInfoServiceStateEnabled),
		VmComponentProtecting:      string(types.ClusterDasConfigInfoServiceStateEnabled),
		HBDatastoreCandidatePolicy: string(types.ClusterDasConfigInfoHBDatastoreCandidateAllFeasibleDsWithUserPreference),
		AdmissionControlEnabled:    types.NewBool(true),
		AdmissionControlPolicy: &types.ClusterFailoverResourcesAdmissionControlPolicy{
			ClusterDasAdmissionControlPolicy: types.ClusterDasAdmissionControlPolicy{ResourceReductionToToleratePercent: types.NewInt32(100)},
			CpuFailoverResourcesPercent:      12,
			MemoryFailoverResourcesPercent:   12,
			FailoverLevel:                    1,
			AutoComputePercentages:           types.NewBool(true),
		},
		DefaultVmSettings: &types.ClusterDasVmSettings{
			RestartPriority:        string(types.ClusterDasVmSettingsRestartPriorityMedium),
			RestartPriorityTimeout: 600,
			IsolationResponse:      string(types.ClusterDasVmSettingsIsolationResponseNone),
			VmToolsMonitoringSettings: &types.ClusterVmToolsMonitoringSettings{
				Enabled: types.NewBool(false), VmMonitoring: string(types.ClusterDasConfigInfoVmMonitoringStateVmMonitoringDisabled),
				ClusterSettings: types.NewBool(true), FailureInterval: 30, MinUpTime: 120, MaxFailures: 3, MaxFailureWindow: -1,
			},
			VmComponentProtectionSettings: &types.ClusterVmComponentProtectionSettings{
				VmStorageProtectionForAPD: string(types.ClusterVmComponentProtectionSettingsStorageVmReactionDisabled),
				VmStorageProtectionForPDL: string(types.ClusterVmComponentProtectionSettingsStorageVmReactionDisabled),
				VmReactionOnAPDCleared:    string(types.ClusterVmComponentProtectionSettingsVmReactionOnAPDClearedNone),
				EnableAPDTimeoutForHosts:  types.NewBool(false),
				VmTerminateDelayForAPDSec: 180,
			},
		},
	}
	config.DrsConfig = types.ClusterDrsConfigInfo{
		Enabled:                   types.NewBool(true),
		EnableVmBehaviorOverrides: types.NewBool(true),
		DefaultVmBehavior:         types.DrsBehaviorFullyAutomated,
		VmotionRate:               3,
	}
	config.DpmConfigInfo = &types.ClusterDpmConfigInfo{
		Enabled: types.NewBool(false), DefaultDpmBehavior: types.DpmBehaviorManual, HostPowerActionRate: 3,
	}
	config.VsanConfigInfo = &types.VsanClusterConfigInfo{
		Enabled: types.NewBool(false), DefaultConfig: &types.VsanClusterConfigInfoHostDefaultInfo{AutoClaimStorage: types.NewBool(false)},
	}
	config.Orchestration = &types.ClusterOrchestrationInfo{DefaultVmReadiness: &types.ClusterVmReadiness{
		ReadyCondition: string(types.ClusterVmReadinessReadyConditionNone), PostReadyDelay: 0,
	}}
	config.InfraUpdateHaConfig = &types.ClusterInfraUpdateHaConfigInfo{
		Enabled:             types.NewBool(false),
		Behavior:            string(types.ClusterInfraUpdateHaConfigInfoBehaviorTypeManual),
		ModerateRemediation: string(types.ClusterInfraUpdateHaConfigInfoRemediationTypeQuarantineMode),
		SevereRemediation:   string(types.ClusterInfraUpdateHaConfigInfoRemediationTypeQuarantineMode),
	}
	config.ProactiveDrsConfig = &types.ClusterProactiveDrsConfigInfo{Enabled: types.NewBool(false)}
}

// addVsanSystems gives every host the vSAN system without disks that every host has;
// the provider looks there whenever it reads a cluster.
func (d *datacentre) addVsanSystems() {
	for _, entity := range d.registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		system := d.registry.Put(&mo.HostVsanSystem{
			Config: types.VsanHostConfigInfo{Enabled: types.NewBool(false)},
		}).Reference()
		host.ConfigManager.VsanSystem = &system
	}
}

// ReconfigureComputeResourceTask keeps every setting of HA and DRS, of which the
// simulator knows four, and has DRS look at the running machines again.
func (a *additions) ReconfigureComputeResourceTask(ctx *simulator.Context, req *types.ReconfigureComputeResource_Task) soap.HasFault {
	cluster := ctx.Map.Get(req.This).(*simulator.ClusterComputeResource)
	task := simulator.CreateTask(cluster, "reconfigureComputeResourceTask", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		inner := cluster.ReconfigureComputeResourceTask(ctx, req).(*methods.ReconfigureComputeResource_TaskBody).Res.Returnval
		if fault := waitFor(ctx, inner); fault != nil {
			return nil, fault
		}
		if spec, ok := req.Spec.(*types.ClusterConfigSpecEx); ok {
			configureCluster(ctx, cluster, spec)
		}
		// Not before this task has let go of the cluster.
		go a.drs.balance()
		return nil, nil
	})
	return &methods.ReconfigureComputeResource_TaskBody{
		Res: &types.ReconfigureComputeResource_TaskResponse{Returnval: task.Run(ctx)},
	}
}

func configureCluster(ctx *simulator.Context, cluster *simulator.ClusterComputeResource, spec *types.ClusterConfigSpecEx) {
	config := *cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
	settings := struct {
		DasConfig           *types.ClusterDasConfigInfo
		DrsConfig           *types.ClusterDrsConfigInfo
		DpmConfigInfo       *types.ClusterDpmConfigInfo
		InfraUpdateHaConfig *types.ClusterInfraUpdateHaConfigInfo
		Orchestration       *types.ClusterOrchestrationInfo
		ProactiveDrsConfig  *types.ClusterProactiveDrsConfigInfo
	}{nil, nil, spec.DpmConfig, spec.InfraUpdateHaConfig, spec.Orchestration, spec.ProactiveDrsConfig}
	overlay(&config, &settings)
	if spec.DasConfig != nil {
		overlay(&config.DasConfig, spec.DasConfig)
	}
	if spec.DrsConfig != nil {
		overlay(&config.DrsConfig, spec.DrsConfig)
	}
	// Both are also read under their old name.
	ctx.Update(cluster, []types.PropertyChange{{Name: "configurationEx", Val: &config}})
	cluster.Configuration.DasConfig, cluster.Configuration.DrsConfig = config.DasConfig, config.DrsConfig
}
