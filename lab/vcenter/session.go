package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	tagSessionPath  = "/rest/com/vmware/cis/session"
	tagCategoryPath = "/rest/com/vmware/cis/tagging/category"
)

// served are the only paths that are answered. The simulator also serves files,
// guests' files and more, to anyone and without a login.
var served = []string{"/sdk", "/pbm", "/rest/com/vmware/cis/"}

// checkLogin accepts one user and logs who was refused.
func (d *datacentre) checkLogin(user, password string) {
	d.registry.SessionManager().ValidLogin = func(login *types.Login) bool {
		ok := login.UserName == user && login.Password == password
		if !ok {
			log.Printf("login refused: %q", login.UserName)
		}
		return ok
	}
}

// identifiers are the parts of a path that differ from object to object.
var identifiers = regexp.MustCompile(`id:[^/?]+`)

// front stands before the simulator's endpoints.
func front(next http.Handler, calls *calls) http.Handler {
	next = outsideNames(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if strings.HasPrefix(path, "/rest/") {
			calls.add(strings.TrimSpace(r.Method + " " + identifiers.ReplaceAllString(path, "id:…") + " " + r.URL.Query().Get("~action")))
		}
		switch {
		case !isServed(path):
			http.NotFound(w, r)
		case path == tagSessionPath && r.Method == http.MethodPost && !hasPassword(r):
			// The simulator takes any signed token for a login.
			http.Error(w, "user and password are needed", http.StatusUnauthorized)
		case strings.HasPrefix(path, tagCategoryPath) && (r.Method == http.MethodPost || r.Method == http.MethodPatch):
			plainAssociableTypes(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func isServed(path string) bool {
	for _, prefix := range served {
		if path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/") {
			return true
		}
	}
	return false
}

// hasPassword also admits requests about an existing session (~action), which
// the simulator checks by the session's own id.
func hasPassword(r *http.Request) bool {
	_, _, basic := r.BasicAuth()
	return basic || r.URL.Query().Get("~action") != ""
}

// plainAssociableTypes takes the namespace off the types a tag category is for
// ("urn:vim25:Datastore"). vCenter stores them without; the simulator keeps what
// it was sent, and the provider would then see a difference for ever.
func plainAssociableTypes(w http.ResponseWriter, r *http.Request, next http.Handler) {
	var body map[string]map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "the request is not JSON", http.StatusBadRequest)
		return
	}
	for _, spec := range body {
		names, _ := spec["associable_types"].([]any)
		for i, name := range names {
			if text, ok := name.(string); ok {
				names[i] = strings.TrimPrefix(text, "urn:vim25:")
			}
		}
	}
	content, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	r.ContentLength = int64(len(content))
	next.ServeHTTP(w, r)
}

// serverErrors logs what goes wrong while answering. A failed handshake is the
// client's affair, and it has the better message.
type serverErrors struct{}

func (serverErrors) Write(message []byte) (int, error) {
	if !bytes.Contains(message, []byte("TLS handshake error")) {
		log.Printf("%s", bytes.TrimSpace(message))
	}
	return len(message), nil
}

// serve starts the simulator's server behind the front.
func serve(service *simulator.Service, certificate tls.Certificate, calls *calls) *simulator.Server {
	// The server accepts connections as soon as it is made, but the front can
	// only be put before it afterwards: no handshake until then.
	ready := make(chan struct{})
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		<-ready
		return nil, nil
	}
	service.TLS = config
	service.RegisterEndpoints = true
	server := service.NewServer()
	server.Config.Handler = front(server.Config.Handler, calls)
	server.Config.ErrorLog = log.New(serverErrors{}, "", 0)
	close(ready)
	return server
}
