package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// inventory is what the data centre is filled with. It is rendered from the
// platform declaration; this process decides nothing about it.
type inventory struct {
	Datacenter string      `json:"datacenter"`
	Cluster    string      `json:"cluster"`
	Sections   []section   `json:"sections"`
	Host       hostSize    `json:"host"`
	Switch     uplinks     `json:"switch"`
	Datastores []datastore `json:"datastores"`
	Templates  []template  `json:"templates"`
}

// section is a fire section: hosts that burn together.
type section struct {
	Key   string   `json:"key"`
	Hosts []string `json:"hosts"`
}

// hostSize is the size of every host; the hosts of a cluster are alike.
type hostSize struct {
	CPUCores  int16 `json:"cpu_cores"`
	CPUMHz    int32 `json:"cpu_mhz"`
	MemoryGiB int64 `json:"memory_gib"`
}

type uplinks struct {
	Name    string   `json:"name"`
	Uplinks []string `json:"uplinks"`
}

// datastore is mounted on the hosts of its sections: a mirrored one on all of
// them, a local one on those of one section.
type datastore struct {
	Name        string   `json:"name"`
	CapacityGiB int64    `json:"capacity_gib"`
	Sections    []string `json:"sections"`
}

type template struct {
	Name    string `json:"name"`
	GuestID string `json:"guest_id"`
	DiskGiB int64  `json:"disk_gib"`
}

func readInventory(path string) (inventory, error) {
	var inv inventory
	file, err := os.Open(path)
	if err != nil {
		return inv, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&inv); err != nil {
		return inv, fmt.Errorf("inventory %s: %w", path, err)
	}
	if err := inv.check(); err != nil {
		return inv, fmt.Errorf("inventory %s: %w", path, err)
	}
	return inv, nil
}

// check names everything that is missing at once.
func (inv inventory) check() error {
	var wrong []error
	need := func(ok bool, message string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(message, args...))
		}
	}
	need(inv.Datacenter != "", "datacenter: a name is needed")
	need(inv.Cluster != "", "cluster: a name is needed")
	need(inv.Switch.Name != "", "switch: a name is needed")
	need(len(inv.Switch.Uplinks) > 0, "switch: at least one uplink is needed")
	need(inv.Host.CPUCores > 0 && inv.Host.CPUMHz > 0 && inv.Host.MemoryGiB > 0,
		"host: cpu_cores, cpu_mhz and memory_gib must be greater than 0")
	need(len(inv.Sections) > 0, "sections: at least one is needed")
	var keys []string
	for _, s := range inv.Sections {
		keys = append(keys, s.Key)
		need(len(s.Hosts) > 0, "section %q: at least one host is needed", s.Key)
	}
	for _, ds := range inv.Datastores {
		need(ds.CapacityGiB > 0, "datastore %q: capacity_gib must be greater than 0", ds.Name)
		need(len(ds.Sections) > 0, "datastore %q: at least one section is needed", ds.Name)
		for _, key := range ds.Sections {
			need(slices.Contains(keys, key), "datastore %q: section %q is not one of %v", ds.Name, key, keys)
		}
	}
	if len(inv.Templates) > 0 {
		need(len(inv.Datastores) > 0, "templates: they need at least one datastore to lie on")
	}
	return errors.Join(wrong...)
}

func (inv inventory) hosts() []string {
	var names []string
	for _, s := range inv.Sections {
		names = append(names, s.Hosts...)
	}
	return names
}

func (ds datastore) hosts(inv inventory) []string {
	var names []string
	for _, s := range inv.Sections {
		if slices.Contains(ds.Sections, s.Key) {
			names = append(names, s.Hosts...)
		}
	}
	return names
}
