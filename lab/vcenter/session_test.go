package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func newSessionManager(client *vim25.Client) *session.Manager { return session.NewManager(client) }

func faultOf(err error) any {
	if err == nil || !soap.IsSoapFault(err) {
		return err
	}
	return soap.ToSoapFault(err).VimFault()
}

func TestWrongLoginsAreRefused(t *testing.T) {
	l := startLab(t)
	for _, wrong := range [][2]string{{testUser, "wrong"}, {"somebody@vsphere.local", testPassword}, {testUser, ""}} {
		_, err := l.login(wrong[0], wrong[1])
		if _, ok := faultOf(err).(types.InvalidLogin); !ok {
			t.Errorf("%q with %q: %v", wrong[0], wrong[1], err)
		}
	}
}

func TestTokensAreNoLogin(t *testing.T) {
	l := startLab(t)
	client, err := l.connect()
	l.must(err)
	_, err = methods.LoginByToken(l.ctx, client, &types.LoginByToken{This: *client.ServiceContent.SessionManager})
	if _, ok := faultOf(err).(types.InvalidLogin); !ok {
		t.Errorf("a token was answered with %v", err)
	}
	_, err = methods.LoginExtensionByCertificate(l.ctx, client, &types.LoginExtensionByCertificate{
		This: *client.ServiceContent.SessionManager, ExtensionKey: "any",
	})
	if _, ok := faultOf(err).(types.InvalidLogin); !ok {
		t.Errorf("a certificate was answered with %v", err)
	}
}

func TestNothingIsReadBeforeLogin(t *testing.T) {
	l := startLab(t)
	client, err := l.connect()
	l.must(err)
	vm, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	var properties mo.VirtualMachine
	err = mo.RetrieveProperties(l.ctx, client, client.ServiceContent.PropertyCollector, vm.Reference(), &properties)
	if _, ok := faultOf(err).(types.NotAuthenticated); !ok {
		t.Errorf("reading a machine was answered with %v", err)
	}
	var root mo.Folder
	err = mo.RetrieveProperties(l.ctx, client, client.ServiceContent.PropertyCollector, client.ServiceContent.RootFolder, &root)
	if _, ok := faultOf(err).(types.NotAuthenticated); !ok {
		t.Errorf("reading the root folder was answered with %v", err)
	}
}

// https sends one request to the lab, trusting its certificate.
func (l *lab) https(method, path string, prepare func(*http.Request)) int {
	l.t.Helper()
	pem, err := os.ReadFile(l.path("server.pem"))
	l.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	request, err := http.NewRequest(method, "https://"+l.run.server.URL.Host+path, strings.NewReader("{}"))
	l.must(err)
	if prepare != nil {
		prepare(request)
	}
	response, err := client.Do(request)
	l.must(err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	l.must(err)
	return response.StatusCode
}

func TestTagServiceChecksTheLoginToo(t *testing.T) {
	l := startLab(t)
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for _, check := range []struct {
		what, method, path string
		prepare            func(*http.Request)
		want               int
	}{
		{"right password", "POST", tagSessionPath, basic(testUser, testPassword), 200},
		{"wrong password", "POST", tagSessionPath, basic(testUser, "wrong"), 401},
		{"no password", "POST", tagSessionPath, nil, 401},
		{"a token", "POST", tagSessionPath, func(r *http.Request) { r.Header.Set("Authorization", "SIGN x") }, 401},
		{"tags without session", "GET", tagCategoryPath, nil, 401},
		{"new category without session", "POST", tagCategoryPath, nil, 401},
		{"datastore files", "GET", "/folder/tpl-debian-12/tpl-debian-12.vmx?dcPath=Schwerin&dsName=sn-mirror01", nil, 404},
		{"JSON-RPC login", "POST", "/api", nil, 404},
		{"simulator's description", "GET", "/about", nil, 404},
		{"API versions", "GET", "/sdk/vimServiceVersions.xml", nil, 200},
	} {
		if have := l.https(check.method, check.path, check.prepare); have != check.want {
			t.Errorf("%s: %d, want %d", check.what, have, check.want)
		}
	}
}

func TestTagCategoryReadsBackItsTypes(t *testing.T) {
	l := startLab(t)
	client := rest.NewClient(l.client.Client)
	l.must(client.Login(l.ctx, url.UserPassword(testUser, testPassword)))
	manager := tags.NewManager(client)
	id, err := manager.CreateCategory(l.ctx, &tags.Category{
		Name: "ksm-tier", Cardinality: "SINGLE",
		AssociableTypes: []string{"urn:vim25:Datastore", "VirtualMachine"},
	})
	l.must(err)
	category, err := manager.GetCategory(l.ctx, id)
	l.must(err)
	if strings.Join(category.AssociableTypes, " ") != "Datastore VirtualMachine" {
		t.Errorf("read back as %v", category.AssociableTypes)
	}
	tag, err := manager.CreateTag(l.ctx, &tags.Tag{Name: "mirrored", CategoryID: id})
	l.must(err)
	vm, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	l.must(manager.AttachTag(l.ctx, tag, vm))
	attached, err := manager.GetAttachedTags(l.ctx, vm)
	l.must(err)
	if len(attached) != 1 || attached[0].Name != "mirrored" {
		t.Errorf("attached: %v", attached)
	}
}
