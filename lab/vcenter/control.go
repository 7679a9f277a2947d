package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
)

// control is the lab's own way into the running simulator, beside the vSphere API: a
// Unix socket that only its owner may open, one JSON document per line and answer.
//
//	{"lose": {"section": "A"}}        or host, datastore, link {host, uplink}
//	{"restore": {"host": "…"}}        the same, or {"everything": true}
//	{"state": {}}                     what is lost, and how everything stands
//	{"fault": {"method": "CloneVM_Task", "name": "gra-db01", "fault": "InsufficientResourcesFault", "times": 1}}
//	{"faults": {}}                    those that have not happened yet; {"clear": true} drops them
//	{"calls": {}}                     how often each method was called; {"reset": true} begins anew
//
// An answer is {"ok": …} or {"error": "…"}.
type control struct {
	listener net.Listener
	path     string
	losses   *losses
	faults   *faults
	calls    *calls
	space    *space
}

// command has exactly one of these.
type command struct {
	Lose    *target       `json:"lose"`
	Restore *restoration  `json:"restore"`
	State   *struct{}     `json:"state"`
	Fault   *plannedFault `json:"fault"`
	Faults  *struct {
		Clear bool `json:"clear"`
	} `json:"faults"`
	Calls *struct {
		Reset bool `json:"reset"`
	} `json:"calls"`
}

type restoration struct {
	target

	Everything bool `json:"everything"`
}

// listen opens the socket and serves it until it is closed.
func (c *control) listen() error {
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", c.path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(c.path, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	c.listener = listener
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			go c.serve(connection)
		}
	}()
	return nil
}

func (c *control) close() {
	if c.listener != nil {
		_ = c.listener.Close()
	}
}

func (c *control) serve(connection io.ReadWriteCloser) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		answer := map[string]any{}
		if done, err := c.execute(lines.Bytes()); err != nil {
			answer["error"] = err.Error()
		} else {
			answer["ok"] = done
		}
		encoded, err := json.Marshal(answer)
		if err != nil {
			log.Printf("control: %v", err)
			return
		}
		if _, err := connection.Write(append(encoded, '\n')); err != nil {
			return
		}
	}
}

func (c *control) execute(line []byte) (any, error) {
	var wanted command
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return nil, fmt.Errorf("not understood: %w", err)
	}
	switch {
	case wanted.Lose != nil:
		log.Printf("control: %s", strings.TrimSpace(string(line)))
		err := c.losses.set(*wanted.Lose, true)
		return c.state(), err
	case wanted.Restore != nil && wanted.Restore.Everything:
		for _, lost := range c.losses.lost() {
			if err := c.losses.set(lost, false); err != nil {
				return nil, err
			}
		}
		return c.state(), nil
	case wanted.Restore != nil:
		log.Printf("control: %s", strings.TrimSpace(string(line)))
		err := c.losses.set(wanted.Restore.target, false)
		return c.state(), err
	case wanted.State != nil:
		return c.state(), nil
	case wanted.Fault != nil:
		return struct{}{}, c.faults.plan(*wanted.Fault)
	case wanted.Faults != nil:
		return c.faults.left(wanted.Faults.Clear), nil
	case wanted.Calls != nil:
		return c.calls.counted(wanted.Calls.Reset), nil
	}
	return nil, errors.New("one of lose, restore, state, fault, faults, calls is needed")
}

// state is how everything stands, as the control socket tells it.
type state struct {
	// Settled: HA and DRS have done what they can; guests may still be starting.
	Settled    bool             `json:"settled"`
	Lost       []target         `json:"lost"`
	Hosts      []hostState      `json:"hosts"`
	Datastores []datastoreState `json:"datastores"`
	Machines   []machineState   `json:"machines"`
}

type hostState struct {
	Name    string   `json:"name"`
	Section string   `json:"section"`
	State   string   `json:"state"`
	Uplinks []string `json:"uplinks_lost"`
}

type datastoreState struct {
	Name        string   `json:"name"`
	Sections    []string `json:"sections"`
	Accessible  bool     `json:"accessible"`
	CapacityGiB int64    `json:"capacity_gib"`
	FreeGiB     int64    `json:"free_gib"`
}

type machineState struct {
	Name       string `json:"name"`
	Host       string `json:"host"`
	Power      string `json:"power"`
	Connection string `json:"connection"`
	// Guest: its guest answers, as far as the driver has said.
	Guest bool `json:"guest"`
	// Waiting: why it ended or still stays down, if HA would restart it.
	Waiting string `json:"waiting,omitempty"`
}

func (c *control) state() state {
	l := c.losses
	ctx := newContext(l.registry)
	c.space.refresh(ctx)
	s := state{Settled: l.ha.settled(), Lost: l.lost(), Hosts: []hostState{}, Datastores: []datastoreState{}, Machines: []machineState{}}
	waiting := l.ha.pending()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, entity := range l.registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		ctx.WithLock(host, func() {
			lost := whatIsSet(l.uplinks[host.Name])
			s.Hosts = append(s.Hosts, hostState{host.Name, l.sectionOf(host.Name), string(host.Runtime.ConnectionState), append([]string{}, lost...)})
		})
	}
	for _, entity := range l.registry.All("Datastore") {
		ds := entity.(*simulator.Datastore)
		ctx.WithLock(ds, func() {
			s.Datastores = append(s.Datastores, datastoreState{
				ds.Name, append([]string{}, l.copies(ds)...), ds.Summary.Accessible, ds.Summary.Capacity / gibibyte, ds.Summary.FreeSpace / gibibyte,
			})
		})
	}
	for _, entity := range l.registry.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		ctx.WithLock(vm, func() {
			if vm.Config == nil || vm.Config.Template || vm.Runtime.Host == nil {
				return
			}
			host := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
			s.Machines = append(s.Machines, machineState{
				Name: vm.Name, Host: host.Name, Power: string(vm.Runtime.PowerState), Connection: string(vm.Runtime.ConnectionState),
				Guest: vm.Guest != nil && vm.Guest.IpAddress != "", Waiting: waiting[vm.Self],
			})
		})
	}
	slices.SortFunc(s.Hosts, func(a, b hostState) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Datastores, func(a, b datastoreState) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Machines, func(a, b machineState) int { return strings.Compare(a.Name, b.Name) })
	return s
}
