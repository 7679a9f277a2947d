package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// ask sends one command to the control socket and returns what it is answered.
func (l *lab) ask(command string) (json.RawMessage, error) {
	l.t.Helper()
	connection, err := net.Dial("unix", l.socket())
	l.must(err)
	defer connection.Close()
	_, err = fmt.Fprintln(connection, command)
	l.must(err)
	line, err := bufio.NewReader(connection).ReadBytes('\n')
	l.must(err)
	var answer struct {
		OK    json.RawMessage `json:"ok"`
		Error string          `json:"error"`
	}
	l.must(json.Unmarshal(line, &answer))
	if answer.Error != "" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	return answer.OK, nil
}

// control sends a command and waits until HA and DRS have settled.
func (l *lab) control(command string) state {
	l.t.Helper()
	_, err := l.ask(command)
	l.must(err)
	var now state
	l.eventually("HA settles", func() bool {
		answer, err := l.ask(`{"state": {}}`)
		l.must(err)
		now = state{}
		l.must(json.Unmarshal(answer, &now))
		return now.Settled
	})
	return now
}

func (s state) machine(t *testing.T, name string) machineState {
	t.Helper()
	i := slices.IndexFunc(s.Machines, func(m machineState) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("there is no machine %s", name)
	}
	return s.Machines[i]
}

// inSection makes machines run in a fire section, as a rule that should or must hold.
func (l *lab) inSection(key string, must bool, machines ...*object.VirtualMachine) {
	l.t.Helper()
	var refs []types.ManagedObjectReference
	for _, vm := range machines {
		refs = append(refs, vm.Reference())
	}
	l.configureCluster(types.ClusterConfigSpecEx{
		GroupSpec: []types.ClusterGroupSpec{
			addGroup(&types.ClusterHostGroup{
				ClusterGroupInfo: types.ClusterGroupInfo{Name: "hosts-" + key}, Host: l.hostsOf("sn-esx-" + strings.ToLower(key))}),
			addGroup(&types.ClusterVmGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: "machines-" + key}, Vm: refs}),
		},
		RulesSpec: []types.ClusterRuleSpec{addRule(&types.ClusterVmHostRuleInfo{
			ClusterRuleInfo: types.ClusterRuleInfo{Name: "rule-" + key, Enabled: types.NewBool(true), Mandatory: types.NewBool(must)},
			VmGroupName:     "machines-" + key, AffineHostGroupName: "hosts-" + key,
		})},
	})
	for _, vm := range machines {
		l.powerOn(vm)
		l.eventually("it runs in "+key, func() bool { return strings.HasPrefix(l.host(vm), "sn-esx-"+strings.ToLower(key)) })
	}
}

func (l *lab) guestAnswers(name string) {
	l.t.Helper()
	l.eventually(name+" answers", func() bool {
		answer, err := l.ask(`{"state": {}}`)
		l.must(err)
		var now state
		l.must(json.Unmarshal(answer, &now))
		return now.machine(l.t, name).Guest
	})
}

// verbs is what the driver was asked for one guest.
func (l *lab) verbs(name string) []string {
	var verbs []string
	for _, call := range l.calls() {
		if strings.Contains(call, `"`+name+`"`) {
			verbs = append(verbs, strings.SplitN(call, " ", 2)[0])
		}
	}
	return verbs
}

// events are the kinds of those that have happened; extended ones by their id.
func (l *lab) events() []string {
	l.t.Helper()
	found, err := methods.QueryEvents(l.ctx, l.client, &types.QueryEvents{This: *l.client.ServiceContent.EventManager})
	l.must(err)
	var kinds []string
	for _, event := range found.Returnval {
		if extended, ok := event.(*types.EventEx); ok {
			kinds = append(kinds, extended.EventTypeId)
		} else {
			kinds = append(kinds, strings.TrimPrefix(fmt.Sprintf("%T", event), "*types."))
		}
	}
	return kinds
}

func TestLostSectionFailsOverAndComesBack(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.inSection("A", false, vm)
	l.guestAnswers("gra-dns01")

	now := l.control(`{"lose": {"section": "A"}}`)
	if m := now.machine(t, "gra-dns01"); !strings.HasPrefix(m.Host, "sn-esx-b") || m.Power != "poweredOn" {
		t.Errorf("after the loss: %+v", m)
	}
	for _, host := range now.Hosts {
		if lost := host.Section == "A"; (host.State == "notResponding") != lost {
			t.Errorf("%s of section %s is %s", host.Name, host.Section, host.State)
		}
	}
	l.guestAnswers("gra-dns01")
	for _, kind := range []string{"HostConnectionLostEvent", "DasHostFailedEvent", "com.vmware.vc.ha.VmRestartedByHAEvent"} {
		if !slices.Contains(l.events(), kind) {
			t.Errorf("no event %s", kind)
		}
	}

	now = l.control(`{"restore": {"section": "A"}}`)
	if m := now.machine(t, "gra-dns01"); !strings.HasPrefix(m.Host, "sn-esx-a") {
		t.Errorf("after the return: %+v", m)
	}
	// Killed and started once; its way back was a migration.
	if verbs := l.verbs("gra-dns01"); !slices.Equal(verbs, []string{"start", "kill", "start"}) {
		t.Errorf("its guest was asked to %v", verbs)
	}
	if len(now.Lost) != 0 || !slices.Contains(l.events(), "DrsVmMigratedEvent") {
		t.Errorf("lost %v, events %v", now.Lost, l.events())
	}
}

func TestRestartsGoByPriority(t *testing.T) {
	l := startLab(t)
	app, db, dns := l.clone("gra-app01"), l.clone("gra-db01"), l.clone("gra-dns01")
	l.inSection("A", false, app, db, dns)
	for _, name := range []string{"gra-app01", "gra-db01", "gra-dns01"} {
		l.guestAnswers(name)
	}
	override := func(vm *object.VirtualMachine, priority string) types.ClusterDasVmConfigSpec {
		return types.ClusterDasVmConfigSpec{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.ClusterDasVmConfigInfo{
				Key: vm.Reference(), DasSettings: &types.ClusterDasVmSettings{RestartPriority: priority},
			},
		}
	}
	l.configureCluster(types.ClusterConfigSpecEx{
		DasVmConfigSpec: []types.ClusterDasVmConfigSpec{override(dns, "highest"), override(db, "high")},
		Orchestration: &types.ClusterOrchestrationInfo{DefaultVmReadiness: &types.ClusterVmReadiness{
			ReadyCondition: string(types.ClusterVmReadinessReadyConditionGuestHbStatusGreen)}},
	})
	before := len(l.calls())
	l.control(`{"lose": {"section": "A"}}`)
	l.guestAnswers("gra-app01")
	var started []string
	for _, call := range l.calls()[before:] {
		if strings.HasPrefix(call, "start ") {
			for _, name := range []string{"gra-app01", "gra-db01", "gra-dns01"} {
				if strings.Contains(call, `"`+name+`"`) {
					started = append(started, name)
				}
			}
		}
	}
	if !slices.Equal(started, []string{"gra-dns01", "gra-db01", "gra-app01"}) {
		t.Errorf("started %v", started)
	}
}

func TestMachineWithoutAHostWaitsAndSaysWhy(t *testing.T) {
	l := startLab(t)
	bound := l.clone("gra-bound01")
	l.inSection("A", true, bound)
	now := l.control(`{"lose": {"section": "A"}}`)
	if m := now.machine(t, "gra-bound01"); m.Power != "poweredOff" || m.Waiting != noRule {
		t.Errorf("a rule that must hold: %+v", m)
	}
	if !slices.Contains(l.events(), "VmFailoverFailed") {
		t.Error("nothing was said about it")
	}
	now = l.control(`{"restore": {"section": "A"}}`)
	if m := now.machine(t, "gra-bound01"); m.Power != "poweredOn" || m.Waiting != "" {
		t.Errorf("after the return: %+v", m)
	}
}

func TestFailoverStaysWithinMemory(t *testing.T) {
	l := startLab(t)
	large, small := l.clone("gra-large01"), l.clone("gra-small01")
	for vm, gib := range map[*object.VirtualMachine]int64{large: 900, small: 8} {
		l.reconfigure(vm, types.VirtualMachineConfigSpec{MemoryMB: gib << 10})
	}
	l.inSection("A", false, large, small)
	// What is left: one host, which has room for the small one only.
	filler := l.clone("gra-filler01")
	l.reconfigure(filler, types.VirtualMachineConfigSpec{MemoryMB: 400 << 10})
	l.inSection("B", false, filler)
	other := "sn-esx-b01"
	if l.host(filler) == other {
		other = "sn-esx-b02"
	}
	l.control(`{"lose": {"host": "` + other + `"}}`)
	now := l.control(`{"lose": {"section": "A"}}`)
	if m := now.machine(t, "gra-small01"); m.Power != "poweredOn" {
		t.Errorf("%+v", m)
	}
	if m := now.machine(t, "gra-large01"); m.Power != "poweredOff" || m.Waiting != noMemory {
		t.Errorf("%+v", m)
	}
	if !slices.Contains(l.events(), "NotEnoughResourcesToStartVmEvent") {
		t.Error("nothing was said about it")
	}
}

func TestWithoutHANothingIsRestarted(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.inSection("A", false, vm)
	l.configureCluster(types.ClusterConfigSpecEx{DasConfig: &types.ClusterDasConfigInfo{Enabled: types.NewBool(false)}})
	if m := l.control(`{"lose": {"section": "A"}}`).machine(t, "gra-dns01"); m.Power != "poweredOff" || m.Connection != "disconnected" {
		t.Errorf("%+v", m)
	}
	l.control(`{"restore": {"everything": true}}`)
	if m := l.control(`{"state": {}}`).machine(t, "gra-dns01"); m.Power != "poweredOff" || m.Connection != "connected" {
		t.Errorf("%+v", m)
	}
}

func TestMirroredDatastoreSurvivesASectionAndALocalOneDoesNot(t *testing.T) {
	l := startLab(t)
	now := l.control(`{"lose": {"section": "B"}}`)
	for _, ds := range now.Datastores {
		if want := len(ds.Sections) == 2; ds.Accessible != want {
			t.Errorf("%s of sections %v: accessible %v", ds.Name, ds.Sections, ds.Accessible)
		}
	}
}

func TestLostDatastoreStopsItsMachines(t *testing.T) {
	l := startLab(t)
	ds := l.mount("gra-gold", "sn-esx-a01", "sn-esx-b01")
	vm, err := l.cloneOnto("gra-db01", ds)
	l.must(err)
	other := l.clone("gra-dns01")
	l.powerOn(vm)
	l.powerOn(other)
	l.configureCluster(types.ClusterConfigSpecEx{DasConfig: &types.ClusterDasConfigInfo{DefaultVmSettings: &types.ClusterDasVmSettings{
		VmComponentProtectionSettings: &types.ClusterVmComponentProtectionSettings{VmStorageProtectionForPDL: "restartAggressive"}}}})
	now := l.control(`{"lose": {"datastore": "gra-gold"}}`)
	if m := now.machine(t, "gra-db01"); m.Power != "poweredOff" || m.Connection != "inaccessible" || m.Waiting != noDatastore {
		t.Errorf("%+v", m)
	}
	if m := now.machine(t, "gra-dns01"); m.Power != "poweredOn" {
		t.Errorf("%+v", m)
	}
	if summary := l.store(ds).Summary; summary.Accessible {
		t.Error("the datastore can still be read")
	}
	now = l.control(`{"restore": {"datastore": "gra-gold"}}`)
	if m := now.machine(t, "gra-db01"); m.Power != "poweredOn" || m.Connection != "connected" {
		t.Errorf("%+v", m)
	}
}

func TestOneUplinkIsRedundantAndTheLastIsNot(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.powerOn(vm)
	l.guestAnswers("gra-dns01")
	host := l.host(vm)
	l.configureCluster(types.ClusterConfigSpecEx{DasConfig: &types.ClusterDasConfigInfo{
		DefaultVmSettings: &types.ClusterDasVmSettings{IsolationResponse: "powerOff"}}})
	lose := func(uplink string) state {
		return l.control(`{"lose": {"link": {"host": "` + host + `", "uplink": "` + uplink + `"}}}`)
	}
	if m := lose("uplink1").machine(t, "gra-dns01"); m.Host != host || len(l.verbs("gra-dns01")) != 1 {
		t.Errorf("one of two uplinks: %+v", m)
	}
	if !slices.Contains(l.events(), "esx.problem.net.redundancy.lost") {
		t.Error("the lost redundancy was not told")
	}
	if m := lose("uplink2").machine(t, "gra-dns01"); m.Host == host || m.Power != "poweredOn" {
		t.Errorf("both uplinks: %+v", m)
	}
	if !slices.Contains(l.events(), "DasHostIsolatedEvent") {
		t.Error("the isolation was not told")
	}
}

func TestMachineOfADeadHostCannotBeChanged(t *testing.T) {
	l := startLab(t)
	vm := l.clone("gra-dns01")
	l.control(`{"lose": {"host": "` + l.host(vm) + `"}}`)
	if _, err := vm.Reconfigure(l.ctx, types.VirtualMachineConfigSpec{NumCPUs: 2}); err == nil || !strings.Contains(err.Error(), "disconnected") {
		t.Errorf("%v", err)
	}
	l.powerOn(vm) // DRS finds another host
	if host := l.host(vm); l.control(`{"state": {}}`).machine(t, "gra-dns01").Connection != "connected" {
		t.Errorf("it runs on %s and is not connected", host)
	}
}

func TestUnknownCommandsAreRefused(t *testing.T) {
	l := startLab(t)
	for _, command := range []string{
		`{}`, `{"loose": {"section": "A"}}`, `{"lose": {}}`, `{"lose": {"section": "C"}}`, `{"lose": {"host": "sn-esx-c01"}}`,
		`{"lose": {"section": "A", "host": "sn-esx-a01"}}`, `{"lose": {"link": {"host": "sn-esx-a01", "uplink": "uplink9"}}}`,
		`{"fault": {"method": "CloneVM_Task", "fault": "NoSuchFault"}}`, `not JSON`,
	} {
		if _, err := l.ask(command); err == nil {
			t.Errorf("%s was accepted", command)
		}
	}
}

func TestPlannedFaultHappensAsOftenAsPlanned(t *testing.T) {
	l := startLab(t)
	_, err := l.ask(`{"fault": {"method": "CloneVM_Task", "name": "gra-db01", "fault": "InsufficientResourcesFault"}}`)
	l.must(err)
	l.clone("gra-db02")
	template, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	folders, err := l.dc.Folders(l.ctx)
	l.must(err)
	_, err = template.Clone(l.ctx, folders.VmFolder, "gra-db01", types.VirtualMachineCloneSpec{})
	if err == nil || !strings.Contains(err.Error(), "InsufficientResourcesFault") {
		t.Errorf("the clone: %v", err)
	}
	l.clone("gra-db01")
}

func TestCallsAreCounted(t *testing.T) {
	l := startLab(t)
	_, err := l.ask(`{"calls": {"reset": true}}`)
	l.must(err)
	l.clone("gra-db01")
	answer, err := l.ask(`{"calls": {}}`)
	l.must(err)
	var counted map[string]int
	l.must(json.Unmarshal(answer, &counted))
	if counted["CloneVM_Task"] != 1 || counted["ReconfigVM_Task"] != 1 || counted["Login"] != 0 {
		t.Errorf("%v", counted)
	}
}

func TestAdmissionControlKeepsItsShare(t *testing.T) {
	l := startLab(t)
	l.configureCluster(types.ClusterConfigSpecEx{DasConfig: &types.ClusterDasConfigInfo{
		AdmissionControlPolicy: &types.ClusterFailoverResourcesAdmissionControlPolicy{
			CpuFailoverResourcesPercent: 50, MemoryFailoverResourcesPercent: 50, AutoComputePercentages: types.NewBool(false)}}})
	var refused error
	for _, name := range []string{"gra-a", "gra-b", "gra-c"} { // 3 × 800 GiB, half of 4096 GiB may be used
		vm := l.clone(name)
		l.reconfigure(vm, types.VirtualMachineConfigSpec{MemoryMB: 800 << 10})
		_, refused = vm.PowerOn(l.ctx)
		if refused == nil {
			l.eventually(name+" runs", func() bool { return l.read(vm).Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn })
		}
	}
	if refused == nil || !strings.Contains(refused.Error(), "failover level") {
		t.Errorf("the third one: %v", refused)
	}
}
