package main

import (
	"errors"
	"fmt"
	"log"
	"reflect"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// plannedFault is an answer that the simulator gives instead of doing what it is asked.
// The simulator's own fault injection goes by the object that is called; here a name
// also means what is about to be made, such as a clone.
type plannedFault struct {
	Method string `json:"method"`
	// Name of the object that is called, or is made, or is in the request; empty: any.
	Name string `json:"name"`
	// Fault is the name of its type in the API.
	Fault   string `json:"fault"`
	Message string `json:"message"`
	// Times that it happens; 0 is once.
	Times int `json:"times"`
}

// faults keeps what is planned, and what was decided for requests that are being answered.
type faults struct {
	mutex   sync.Mutex
	planned []plannedFault
	refused map[*simulator.Context]*soap.Fault
}

func newFaults() *faults { return &faults{refused: map[*simulator.Context]*soap.Fault{}} }

func (f *faults) plan(p plannedFault) error {
	if p.Method == "" {
		return errors.New("a method is needed, such as CloneVM_Task")
	}
	if _, err := makeFault(p.Fault); err != nil {
		return err
	}
	p.Times = max(1, p.Times)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.planned = append(f.planned, p)
	return nil
}

func makeFault(name string) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(name)
	if !ok || kind.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the API has no fault %q", name)
	}
	fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is not a fault", name)
	}
	return fault, nil
}

func (f *faults) left(clear bool) []plannedFault {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if clear {
		f.planned = nil
	}
	return append([]plannedFault{}, f.planned...)
}

// refuse decides whether a request gets a planned fault. The request is then sent to
// Refuse, which alone can give an answer with a message.
func (f *faults) refuse(ctx *simulator.Context, method *simulator.Method) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	i := slices.IndexFunc(f.planned, func(p plannedFault) bool {
		return p.Method == method.Name && (p.Name == "" || slices.Contains(namesIn(ctx, method), p.Name))
	})
	if i < 0 {
		return false
	}
	p := &f.planned[i]
	fault, _ := makeFault(p.Fault)
	message := p.Message
	if message == "" {
		message = fmt.Sprintf("%s (fault of the lab: %s of %s)", p.Fault, p.Method, p.Name)
	}
	fault.GetMethodFault().FaultMessage = said("lab.fault", message)
	f.refused[ctx] = simulator.Fault(message, fault)
	log.Printf("control: %s of %q is refused: %s", p.Method, p.Name, p.Fault)
	if p.Times--; p.Times == 0 {
		f.planned = slices.Delete(f.planned, i, i+1)
	}
	return true
}

// refuseUnreachable refuses to change a machine that vCenter cannot reach, or to mount
// on a host that does not answer. Starting such a machine is left to DRS, which looks
// for another host.
func (f *faults) refuseUnreachable(ctx *simulator.Context, method *simulator.Method) bool {
	name := ""
	switch object := ctx.Map.Get(method.This).(type) {
	case *simulator.VirtualMachine:
		if object.Runtime.ConnectionState == types.VirtualMachineConnectionStateDisconnected && method.Name != "PowerOnVM_Task" {
			name = object.Name
		}
	case *simulator.HostDatastoreSystem:
		if object.Host.Runtime.ConnectionState == types.HostSystemConnectionStateNotResponding {
			name = object.Host.Name
		}
	}
	if name == "" || !changes(method) {
		return false
	}
	message := fmt.Sprintf("Unable to communicate with the remote host of '%s', since it is disconnected.", name)
	fault := &types.HostNotConnected{}
	fault.FaultMessage = said("lab.host.notConnected", message)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.refused[ctx] = simulator.Fault(message, fault)
	return true
}

// namesIn are the names by which people would call what a request is about.
func namesIn(ctx *simulator.Context, method *simulator.Method) []string {
	var names []string
	if entity, ok := ctx.Map.Get(method.This).(mo.Entity); ok {
		names = append(names, entity.Entity().Name)
	}
	switch body := method.Body.(type) {
	case *types.CloneVM_Task:
		names = append(names, body.Name)
	case *types.CreateVM_Task:
		names = append(names, body.Config.Name)
	case *types.CreateNasDatastore:
		names = append(names, body.Spec.LocalPath)
	case *types.CreateVirtualDisk_Task:
		names = append(names, body.Name)
	case *types.CreateDVPortgroup_Task:
		names = append(names, body.Spec.Name)
	case *types.ReconfigureComputeResource_Task:
		if spec, ok := body.Spec.(*types.ClusterConfigSpecEx); ok {
			for _, rule := range spec.RulesSpec {
				if rule.Info != nil {
					names = append(names, rule.Info.GetClusterRuleInfo().Name)
				}
			}
			for _, group := range spec.GroupSpec {
				if group.Info != nil {
					names = append(names, group.Info.GetClusterGroupInfo().Name)
				}
			}
		}
	}
	return names
}

// refusal is the body of an answer that is a fault.
type refusal struct {
	Reason *soap.Fault `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (r *refusal) Fault() *soap.Fault { return r.Reason }

// Refuse answers a request that gets a planned fault, whatever it asks for.
func (a *additions) Refuse(ctx *simulator.Context, _ any) soap.HasFault {
	a.faults.mutex.Lock()
	defer a.faults.mutex.Unlock()
	fault := a.faults.refused[ctx]
	delete(a.faults.refused, ctx)
	return &refusal{fault}
}

// calls counts requests: those of the vSphere API by method, those about tags by path.
type calls struct {
	mutex sync.Mutex
	count map[string]int
}

func (c *calls) add(name string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.count == nil {
		c.count = map[string]int{}
	}
	c.count[name]++
}

func (c *calls) counted(reset bool) map[string]int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	counted := map[string]int{}
	for name, number := range c.count {
		counted[name] = number
	}
	if reset {
		c.count = nil
	}
	return counted
}
