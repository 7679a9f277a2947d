package main

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (l *lab) pod(name string) *object.StoragePod {
	l.t.Helper()
	folders, err := l.dc.Folders(l.ctx)
	l.must(err)
	pod, err := folders.DatastoreFolder.CreateStoragePod(l.ctx, name)
	l.must(err)
	return pod
}

func (l *lab) readPod(pod *object.StoragePod) mo.StoragePod {
	l.t.Helper()
	var properties mo.StoragePod
	l.must(pod.Properties(l.ctx, pod.Reference(), nil, &properties))
	return properties
}

func TestDatastoreClusterKeepsEverySetting(t *testing.T) {
	l := startLab(t)
	pod := l.pod("gra-a")
	manager := object.NewStorageResourceManager(l.client.Client)
	l.wait(manager.ConfigureStorageDrsForPod(l.ctx, pod, types.StorageDrsConfigSpec{PodConfigSpec: &types.StorageDrsPodConfigSpec{
		Enabled: types.NewBool(true), DefaultVmBehavior: "automated", DefaultIntraVmAffinity: types.NewBool(false),
		SpaceLoadBalanceConfig: &types.StorageDrsSpaceLoadBalanceConfig{SpaceUtilizationThreshold: 70},
		Option:                 []types.StorageDrsOptionSpec{{Option: &types.OptionValue{Key: "IgnoreAffinityRulesForMaintenance", Value: "1"}}},
	}}, true))
	config := l.readPod(pod).PodStorageDrsEntry.StorageDrsConfig.PodConfig
	if !config.Enabled || config.DefaultVmBehavior != "automated" || *config.DefaultIntraVmAffinity || config.LoadBalanceInterval != 480 {
		t.Errorf("%+v", config)
	}
	space := config.SpaceLoadBalanceConfig
	if space.SpaceUtilizationThreshold != 70 || space.MinSpaceUtilizationDifference != 5 {
		t.Errorf("what was not set has changed, or what was set has not: %+v", space)
	}
	if len(config.Option) != 1 || config.Option[0].GetOptionValue().Value != "1" {
		t.Errorf("options %v", config.Option)
	}
}

func TestDatastoresMoveIntoTheirClusterAndOut(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01")
	pod := l.pod("gra-a")
	folders, err := l.dc.Folders(l.ctx)
	l.must(err)
	l.wait(pod.MoveInto(l.ctx, []types.ManagedObjectReference{ds.Reference()}))
	properties := l.readPod(pod)
	if properties.Summary.Capacity != 100*gibibyte || properties.Summary.FreeSpace != 100*gibibyte {
		t.Errorf("its summary is %+v", properties.Summary)
	}
	if found, err := l.finder.Datastore(l.ctx, "gra-gold"); err != nil || found.Reference() != ds.Reference() {
		t.Errorf("it is not found in its cluster: %v", err)
	}
	if task, err := pod.Destroy(l.ctx); err != nil || task.Wait(l.ctx) == nil {
		t.Errorf("a cluster was deleted with a datastore in it: %v", err)
	}
	// A second host joins it where it is now.
	l.alsoMount("gra-gold", "sn-esx-a02", ds)
	l.wait(folders.DatastoreFolder.MoveInto(l.ctx, []types.ManagedObjectReference{ds.Reference()}))
	if parent := l.store(ds).Parent; *parent != folders.DatastoreFolder.Reference() {
		t.Errorf("it is in %v", parent)
	}
	l.wait(pod.Destroy(l.ctx))
	if _, err := l.finder.DatastoreCluster(l.ctx, "gra-a"); err == nil {
		t.Error("the cluster is still there")
	}
}

func (l *lab) alsoMount(name, host string, present *object.Datastore) {
	l.t.Helper()
	if ds := l.mount(name, host); ds.Reference() != present.Reference() {
		l.t.Errorf("%s made a second datastore", host)
	}
}
