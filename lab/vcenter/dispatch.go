package main

import (
	"log"
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// additions is one managed object that holds every method which the simulator's
// own objects lack or answer differently from a real vCenter. The simulator casts
// its objects to its own types, so they cannot be wrapped in place; requests for
// the methods listed below are sent here instead, and each finds the object it is
// about in its request.
type additions struct {
	// The registry holds managed objects only; this one carries nothing else.
	mo.TaskManager

	guests   *guests
	drs      *drs
	policies *policies
	space    *space
	mounts   *mounts
	losses   *losses
	faults   *faults
	calls    *calls
}

// Lock and Unlock opt out of the simulator's lock per object: requests for
// different objects must not wait for one another here.
func (*additions) Lock()   {}
func (*additions) Unlock() {}

var additionsRef = types.ManagedObjectReference{Type: "LabAdditions", Value: "additions"}

// added lists, per kind of object, the methods that additions takes over.
var added = map[string][]string{
	"AuthorizationManager":     {"AddAuthorizationRole"},
	"DistributedVirtualSwitch": {"CreateDVPortgroup_Task"},
	"Datastore":                {"RefreshDatastore", "RefreshDatastoreStorageInfo", "Rename_Task"},
	"EnvironmentBrowser":       {"QueryConfigOption"},
	"Folder":                   {"CreateStoragePod", "CreateVM_Task", "MoveIntoFolder_Task"},
	"HostDatastoreBrowser":     {"SearchDatastore_Task"},
	"HostDatastoreSystem":      {"CreateNasDatastore", "RemoveDatastore"},
	"PropertyCollector":        {"Fetch"},
	"StoragePod":               {"Destroy_Task", "MoveIntoFolder_Task", "Rename_Task"},
	"StorageResourceManager":   {"ConfigureStorageDrsForPod_Task"},
	"VirtualDiskManager":       {"CreateVirtualDisk_Task", "ExtendVirtualDisk_Task"},
	"VirtualMachine":           {"CloneVM_Task", "PowerOnVM_Task", "RebootGuest", "ReconfigVM_Task", "RelocateVM_Task"},
	"ClusterComputeResource":   {"ReconfigureComputeResource_Task"},
}

// openToAll lists what a client may call before it has logged in. The simulator
// also lets it read any property; allowedBeforeLogin narrows that.
var openToAll = []string{"Login", "CloneSession", "RetrieveServiceContent"}

// unsupportedLogins are ways in that the simulator does not check at all.
var unsupportedLogins = []string{"LoginByToken", "LoginExtensionByCertificate"}

func (d *datacentre) installDispatch(a *additions) {
	a.Self = additionsRef
	d.registry.Put(a)
	d.registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if slices.Contains(unsupportedLogins, method.Name) {
			return nil, new(types.InvalidLogin)
		}
		if ctx.Session == nil && !allowedBeforeLogin(method) {
			return nil, &types.NotAuthenticated{NoPermission: types.NoPermission{
				Object: &method.This, PrivilegeId: "System.View",
			}}
		}
		method.This = internalReference(method.This)
		internalTypes(reflect.ValueOf(method.Body))
		sortPaths(method)
		logCall(ctx, method)
		a.calls.add(method.Name)
		if a.faults.refuse(ctx, method) || a.faults.refuseUnreachable(ctx, method) {
			method.This, method.Name = additionsRef, "Refuse"
			return a, nil
		}
		if readsDatastores(method) {
			a.space.refresh(ctx)
		}
		if slices.Contains(added[method.This.Type], method.Name) && ctx.Map.Get(method.This) != nil {
			method.This = additionsRef
		}
		return nil, nil
	}
}

func allowedBeforeLogin(method *simulator.Method) bool {
	switch body := method.Body.(type) {
	case *types.RetrieveProperties:
		return readsOnlyService(body.SpecSet)
	case *types.RetrievePropertiesEx:
		return readsOnlyService(body.SpecSet)
	case *fetchRequest:
		return aboutService(body.This)
	}
	return slices.Contains(openToAll, method.Name)
}

// readsOnlyService tells whether a read stays with what a client needs to know in
// order to log in.
func readsOnlyService(specs []types.PropertyFilterSpec) bool {
	for _, spec := range specs {
		for _, object := range spec.ObjectSet {
			if object.SelectSet != nil || !aboutService(object.Obj) {
				return false
			}
		}
	}
	return true
}

func aboutService(ref types.ManagedObjectReference) bool {
	return ref == vim25.ServiceInstance || ref.Type == "SessionManager"
}

// readsDatastores tells whether a request asks about datastores or clusters of them,
// whose free space is only counted when somebody wants to know.
func readsDatastores(method *simulator.Method) bool {
	var specs []types.PropertyFilterSpec
	switch body := method.Body.(type) {
	case *types.RetrieveProperties:
		specs = body.SpecSet
	case *types.RetrievePropertiesEx:
		specs = body.SpecSet
	case *fetchRequest:
		return body.This.Type == "Datastore" || body.This.Type == "StoragePod"
	}
	for _, spec := range specs {
		for _, set := range spec.PropSet {
			if set.Type == "Datastore" || set.Type == "StoragePod" {
				return true
			}
		}
	}
	return false
}

// sortPaths makes a property filter report changes in the alphabetical order of a
// real vCenter. The provider's wait for a guest's network depends on it: it must
// see the gateway (guest.ipStack) before the address (guest.net).
func sortPaths(method *simulator.Method) {
	if filter, ok := method.Body.(*types.CreateFilter); ok {
		for _, set := range filter.Spec.PropSet {
			slices.Sort(set.PathSet)
		}
	}
}

// logCall writes one line for each request that changes something.
func logCall(ctx *simulator.Context, method *simulator.Method) {
	if ctx.Session != nil && ctx.Session.UserName != "" && changes(method) {
		log.Printf("%s: %s on %s", ctx.Session.UserName, method.Name, label(ctx, method.This))
	}
}

// changes goes by the names of the API's methods: long work ends in _Task, and what
// creates something at once says so, but for a client's own views and filters.
func changes(method *simulator.Method) bool {
	if strings.HasSuffix(method.Name, "_Task") {
		return !strings.HasPrefix(method.Name, "Search") && !strings.HasPrefix(method.Name, "Query")
	}
	return strings.HasPrefix(method.Name, "Create") && method.This.Type != "ViewManager" && method.This.Type != "PropertyCollector"
}

// label is what people know an object by.
func label(ctx *simulator.Context, ref types.ManagedObjectReference) string {
	if entity, ok := ctx.Map.Get(ref).(mo.Entity); ok && entity.Entity().Name != "" {
		return ref.Type + " " + entity.Entity().Name
	}
	return ref.Type
}
