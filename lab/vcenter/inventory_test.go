package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInventoryNamesEverythingThatIsWrong(t *testing.T) {
	wrong := inventory{
		Sections:   []section{{"A", nil}},
		Datastores: []datastore{{"sn-mirror01", 0, []string{"C"}}},
	}
	err := wrong.check()
	if err == nil {
		t.Fatal("an inventory without anything in it was accepted")
	}
	for _, part := range []string{"datacenter", "cluster", "switch", "host:", `section "A"`, "capacity_gib", `section "C"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
}

func TestInventoryRefusesUnknownKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inventory.json")
	if err := os.WriteFile(path, []byte(`{"datacentre": "Schwerin"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readInventory(path); err == nil || !strings.Contains(err.Error(), "datacentre") {
		t.Errorf("a misspelt key was answered with: %v", err)
	}
}
