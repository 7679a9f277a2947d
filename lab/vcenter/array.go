package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// export is one file system that a storage array offers over NFS. Its sections are
// the fire sections that hold a copy of it: it is readable while one of them stands.
type export struct {
	Host        string   `json:"host"`
	Path        string   `json:"path"`
	CapacityGiB int64    `json:"capacity_gib"`
	Sections    []string `json:"sections"`
}

// array is what the storage administrators have set up, as a file says it. The file
// belongs to them: it is read again whenever it has changed, so that an export that
// was made or grown there is seen here.
type array struct {
	path string

	mutex   sync.Mutex
	stamp   time.Time
	size    int64
	exports []export
}

// newArray reads the file; without one there is no array and nothing to mount.
func newArray(path string) (*array, error) {
	a := &array{path: path}
	_, err := a.changed()
	return a, err
}

// changed reads the file again if it is not the one that was read last. What was
// read before stays in force while the file cannot be understood.
func (a *array) changed() (bool, error) {
	if a.path == "" {
		return false, nil
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	info, err := os.Stat(a.path)
	if err != nil {
		return false, err
	}
	if info.ModTime().Equal(a.stamp) && info.Size() == a.size {
		return false, nil
	}
	content, err := os.ReadFile(a.path)
	if err != nil {
		return false, err
	}
	exports, err := parseExports(content)
	if err != nil {
		return false, fmt.Errorf("array %s: %w", a.path, err)
	}
	a.exports, a.stamp, a.size = exports, info.ModTime(), info.Size()
	return true, nil
}

func parseExports(content []byte) ([]export, error) {
	var document struct {
		Exports []export `json:"exports"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	var wrong []error
	for _, e := range document.Exports {
		if e.Host == "" || e.Path == "" || e.CapacityGiB <= 0 || len(e.Sections) == 0 {
			wrong = append(wrong, fmt.Errorf("export %s:%s: host, path, capacity_gib and sections are needed", e.Host, e.Path))
		}
	}
	return document.Exports, errors.Join(wrong...)
}

// find looks for an export that any of the hosts offers.
func (a *array) find(hosts []string, path string) (export, bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, e := range a.exports {
		if e.Path == path && slices.Contains(hosts, e.Host) {
			return e, true
		}
	}
	return export{}, false
}
