package main

import (
	"sync"
	"testing"

	"github.com/vmware/govmomi/object"
)

func TestRolesCreatedAtOnceHaveIDsOfTheirOwn(t *testing.T) {
	l := startLab(t)
	manager := object.NewAuthorizationManager(l.client.Client)
	wanted := []string{"ksm-member-admin", "ksm-operator", "ksm-auditor", "ksm-backup"}
	answered := make([]int32, len(wanted))
	var together sync.WaitGroup
	for i, name := range wanted {
		together.Go(func() {
			id, err := manager.AddRole(l.ctx, name, nil)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			answered[i] = id
		})
	}
	together.Wait()
	roles, err := manager.RoleList(l.ctx)
	l.must(err)
	for i, name := range wanted {
		if role := roles.ById(answered[i]); role == nil || role.Name != name {
			t.Errorf("%s was created as %d, which is %v", name, answered[i], role)
		}
	}
	if _, err := manager.AddRole(l.ctx, wanted[0], nil); err == nil {
		t.Error("a second role of the same name was created")
	}
}
