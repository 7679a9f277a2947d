// Command vcenter is the lab's vCenter: a simulated data centre that speaks the
// real vSphere API, so that the real tools work on it unchanged. A virtual machine
// that is powered on in it is given a guest by the guest driver.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vmware/govmomi/simulator"
)

type options struct {
	inventory, listen, certificate, key   string
	user, passwordFile, driver, readyFile string
	array, control                        string
}

func main() {
	log.SetFlags(log.LstdFlags)
	log.SetPrefix("vcenter: ")
	options, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	if err := run(options, os.Stdout); err != nil {
		log.Print(err)
		os.Exit(1)
	}
}

func parseOptions(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("vcenter", flag.ContinueOnError)
	required := map[string]*string{}
	need := func(target *string, name, usage string) {
		flags.StringVar(target, name, "", usage)
		required[name] = target
	}
	need(&o.inventory, "inventory", "JSON `file` with the data centre's hosts, switch, datastores and templates")
	need(&o.listen, "listen", "`host:port` to serve on")
	need(&o.certificate, "tls-cert", "PEM `file` with the server's certificate")
	need(&o.key, "tls-key", "PEM `file` with the certificate's key")
	need(&o.user, "user", "the only `user` that may log in")
	need(&o.passwordFile, "password-file", "`file` with the user's password")
	need(&o.driver, "guest-driver", "`executable` that starts and stops guests")
	flags.StringVar(&o.array, "array", "", "JSON `file` with what the storage array exports; read again whenever it changes")
	flags.StringVar(&o.control, "control", "", "Unix `socket` on which the lab makes things fail (see control.go)")
	flags.StringVar(&o.readyFile, "ready-file", "", "`file` that is written as soon as requests are served")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	var missing []string
	flags.VisitAll(func(f *flag.Flag) {
		if target, ok := required[f.Name]; ok && *target == "" {
			missing = append(missing, "--"+f.Name)
		}
	})
	if len(missing) > 0 {
		return o, fmt.Errorf("needed but not given: %s", strings.Join(missing, ", "))
	}
	return o, nil
}

func run(o options, stdout io.Writer) error {
	// Before anything is started, so that no signal is lost on the way.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)

	v, err := start(o)
	if err != nil {
		return err
	}
	defer v.stop()
	if err := announceReady(v.server, o, stdout); err != nil {
		return err
	}
	log.Printf("received %s, stopping", <-signals)
	return nil
}

// vcenter is everything that runs.
type vcenter struct {
	datacentre *datacentre
	guests     *guests
	control    *control
	server     *simulator.Server
}

func start(o options) (*vcenter, error) {
	inv, err := readInventory(o.inventory)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(o.certificate, o.key)
	if err != nil {
		return nil, err
	}
	password, err := readPassword(o.passwordFile)
	if err != nil {
		return nil, err
	}
	if err := portIsFree(o.listen); err != nil {
		return nil, err
	}
	array, err := newArray(o.array)
	if err != nil {
		return nil, err
	}
	dc, err := buildDatacentre(inv)
	if err != nil {
		return nil, err
	}
	guests, control := dc.equip(o.driver, o.user, password, array)
	service := dc.model.Service
	service.Listen = &url.URL{Host: o.listen, User: url.UserPassword(o.user, password)}
	v := &vcenter{dc, guests, control, serve(service, certificate, control.calls)}
	if o.control != "" {
		control.path = o.control
		if err := control.listen(); err != nil {
			v.stop()
			return nil, err
		}
	}
	return v, nil
}

// stop ends first what could start guests, then the guests, and returns when they
// are gone.
func (v *vcenter) stop() {
	v.control.close()
	_ = v.server.Listener.Close()
	v.server.CloseClientConnections()
	v.guests.stopAll()
	v.datacentre.remove()
}

// equip adds to the simulator what it lacks and returns the guests to be stopped, and
// what makes things fail.
func (d *datacentre) equip(driver, user, password string, array *array) (*guests, *control) {
	machines := newGuests(driver, d.registry)
	scheduler := newDRS(d)
	failures := newLosses(d, array, scheduler, machines)
	for _, entity := range d.registry.All("VirtualMachine") {
		complete(entity.(*simulator.VirtualMachine))
	}
	d.replaceSwitchManager()
	policies := installPolicies(d.registry)
	d.registry.AddHandler(&watcher{guests: machines, drs: scheduler, policies: policies, ha: failures.ha})
	a := &additions{
		guests: machines, drs: scheduler, policies: policies, losses: failures,
		space:  newSpace(d.registry, array),
		mounts: &mounts{array: array, files: d.files, cluster: d.cluster.Reference()},
		faults: newFaults(), calls: &calls{},
	}
	d.installDispatch(a)
	d.checkLogin(user, password)
	return machines, &control{losses: failures, faults: a.faults, calls: a.calls, space: a.space}
}

func readPassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty; a password is needed", path)
	}
	return password, nil
}

// portIsFree turns what the simulator would panic about into an error.
func portIsFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

// announceReady tells who waits that requests are served from now on.
func announceReady(server *simulator.Server, o options, stdout io.Writer) error {
	line, err := json.Marshal(map[string]any{"endpoint": server.URL.Host, "user": o.user, "pid": os.Getpid()})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if _, err := stdout.Write(line); err != nil {
		return err
	}
	if o.readyFile == "" {
		return nil
	}
	// Renamed into place, so that a reader never sees half of it.
	draft := filepath.Join(filepath.Dir(o.readyFile), "."+filepath.Base(o.readyFile))
	if err := os.WriteFile(draft, line, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, o.readyFile)
}
