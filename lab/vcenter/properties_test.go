package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func (l *lab) fetch(client soap.RoundTripper, ref types.ManagedObjectReference, name string) (types.AnyType, error) {
	var req, res fetchBody
	req.Req = &fetchRequest{This: ref, Prop: name}
	if err := client.RoundTrip(l.ctx, &req, &res); err != nil {
		return nil, err
	}
	return res.Res.Returnval, nil
}

func TestOnePropertyCanBeFetched(t *testing.T) {
	l := startLab(t)
	vm, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	name, err := l.fetch(l.client, vm.Reference(), "name")
	if err != nil || name != "tpl-debian-12" {
		t.Errorf("name: %v, %v", name, err)
	}
	pool, err := l.fetch(l.client, vm.Reference(), "resourcePool")
	if err != nil || pool != nil {
		t.Errorf("a template's pool: %v, %v", pool, err)
	}
	_, err = l.fetch(l.client, vm.Reference(), "noSuchProperty")
	if _, ok := faultOf(err).(types.InvalidProperty); !ok {
		t.Errorf("an unknown property: %v", err)
	}
	_, err = l.fetch(l.client, types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-999"}, "name")
	if _, ok := faultOf(err).(types.ManagedObjectNotFound); !ok {
		t.Errorf("an unknown machine: %v", err)
	}
}

func TestNothingIsFetchedBeforeLogin(t *testing.T) {
	l := startLab(t)
	client, err := l.connect()
	l.must(err)
	vm, err := l.finder.VirtualMachine(l.ctx, "tpl-debian-12")
	l.must(err)
	_, err = l.fetch(client, vm.Reference(), "name")
	if _, ok := faultOf(err).(types.NotAuthenticated); !ok {
		t.Errorf("answered with %v", err)
	}
}
