package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	testUser     = "svc-test@vsphere.local"
	testPassword = "correct horse"
)

var testInventory = inventory{
	Datacenter: "Schwerin",
	Cluster:    "sn-cluster01",
	Sections: []section{
		{"A", []string{"sn-esx-a01", "sn-esx-a02"}},
		{"B", []string{"sn-esx-b01", "sn-esx-b02"}},
	},
	Host:   hostSize{CPUCores: 64, CPUMHz: 2800, MemoryGiB: 1024},
	Switch: uplinks{"sn-dvs01", []string{"uplink1", "uplink2"}},
	Datastores: []datastore{
		{"sn-mirror01", 51200, []string{"A", "B"}},
		{"sn-local-b01", 10240, []string{"B"}},
	},
	Templates: []template{
		{"tpl-debian-12", "debian12_64Guest", 20},
		{"tpl-windows-11", "windows11_64Guest", 64},
	},
}

// lab is a vCenter that runs for one test, with a client that has logged in.
type lab struct {
	t      *testing.T
	ctx    context.Context
	run    *vcenter
	client *govmomi.Client
	finder *find.Finder
	dc     *object.Datacenter
	dir    string

	socketPath string
}

// The driver notes each call and answers at once; it fails or dawdles when the
// file of that name exists.
const testDriver = `#!/bin/sh
cd "$(dirname "$0")"
request=$(cat)
printf '%s %s\n' "$1" "$request" >> calls
if [ -e "slow" ]; then exec sleep 60; fi
if [ -e "fail-$1" ]; then echo "the base image is missing" >&2; exit 1; fi
echo '{"address": "10.64.12.11", "host_key": "ssh-ed25519 AAAATEST"}'
`

func startLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, ctx: context.Background(), dir: t.TempDir()}
	content, err := json.Marshal(testInventory)
	l.must(err)
	l.write("inventory.json", string(content), 0o600)
	l.write("password", testPassword+"\n", 0o600)
	l.write("array.json", testArray, 0o600)
	l.write("driver", testDriver, 0o700)
	l.writeCertificate()
	l.run, err = start(options{
		inventory: l.path("inventory.json"), listen: "127.0.0.1:0",
		certificate: l.path("server.pem"), key: l.path("server.key"),
		user: testUser, passwordFile: l.path("password"), driver: l.path("driver"),
		array: l.path("array.json"), control: l.socket(),
	})
	l.must(err)
	t.Cleanup(l.run.stop)
	l.client, err = l.login(testUser, testPassword)
	l.must(err)
	l.finder = find.NewFinder(l.client.Client)
	l.dc, err = l.finder.Datacenter(l.ctx, "Schwerin")
	l.must(err)
	l.finder.SetDatacenter(l.dc)
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// socket is not below the test's folder: its path may be too long for a socket.
func (l *lab) socket() string {
	if l.socketPath == "" {
		directory, err := os.MkdirTemp("", "lab")
		l.must(err)
		l.t.Cleanup(func() { _ = os.RemoveAll(directory) })
		l.socketPath = filepath.Join(directory, "control")
	}
	return l.socketPath
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, content string, mode os.FileMode) {
	l.t.Helper()
	l.must(os.WriteFile(l.path(name), []byte(content), mode))
}

// writeCertificate makes a self-signed certificate that clients are told to trust.
func (l *lab) writeCertificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	l.must(err)
	encoded, err := x509.MarshalECPrivateKey(key)
	l.must(err)
	l.write("server.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})), 0o600)
	l.write("server.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})), 0o600)
}

// connect opens a verified connection without logging in.
func (l *lab) connect() (*vim25.Client, error) {
	connection := soap.NewClient(&url.URL{Scheme: "https", Host: l.run.server.URL.Host, Path: "/sdk"}, false)
	if err := connection.SetRootCAs(l.path("server.pem")); err != nil {
		return nil, err
	}
	return vim25.NewClient(l.ctx, connection)
}

func (l *lab) login(user, password string) (*govmomi.Client, error) {
	client, err := l.connect()
	if err != nil {
		return nil, err
	}
	full := &govmomi.Client{Client: client, SessionManager: newSessionManager(client)}
	return full, full.Login(l.ctx, url.UserPassword(user, password))
}

func (l *lab) wait(task *object.Task, err error) *types.TaskInfo {
	l.t.Helper()
	l.must(err)
	info, err := task.WaitForResult(l.ctx)
	l.must(err)
	return info
}

// clone makes a machine from the Debian template, with customisation metadata.
func (l *lab) clone(name string) *object.VirtualMachine {
	l.t.Helper()
	template, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	folders, err := l.dc.Folders(l.ctx)
	l.must(err)
	pool, err := l.finder.ResourcePool(l.ctx, "sn-cluster01/Resources")
	l.must(err)
	store, err := l.finder.Datastore(l.ctx, "sn-mirror01")
	l.must(err)
	poolRef, storeRef := pool.Reference(), store.Reference()
	info := l.wait(template.Clone(l.ctx, folders.VmFolder, name, types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &poolRef, Datastore: &storeRef},
	}))
	vm := object.NewVirtualMachine(l.client.Client, info.Result.(types.ManagedObjectReference))
	l.reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.metadata", Value: testMetadata},
		&types.OptionValue{Key: "guestinfo.userdata", Value: "I2Nsb3VkLWNvbmZpZwo="},
		&types.OptionValue{Key: "guestinfo.userdata.encoding", Value: "base64"},
	}})
	return vm
}

const testMetadata = `
local-hostname: gra-dns01
network:
  version: 2
  ethernets:
    ens192:
      addresses: ["10.64.12.11/24"]
      routes: [{to: default, via: 10.64.12.1}]
`

func (l *lab) reconfigure(vm *object.VirtualMachine, spec types.VirtualMachineConfigSpec) {
	l.t.Helper()
	l.wait(vm.Reconfigure(l.ctx, spec))
}

func (l *lab) read(vm *object.VirtualMachine) mo.VirtualMachine {
	l.t.Helper()
	var properties mo.VirtualMachine
	l.must(vm.Properties(l.ctx, vm.Reference(), nil, &properties))
	return properties
}

// calls are the driver's calls so far, one line each.
func (l *lab) calls() []string {
	content, err := os.ReadFile(l.path("calls"))
	if os.IsNotExist(err) {
		return nil
	}
	l.must(err)
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// eventually waits for something that happens in the background.
func (l *lab) eventually(what string, condition func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	l.t.Fatalf("this did not happen: %s", what)
}
