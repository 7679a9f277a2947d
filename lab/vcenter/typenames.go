package main

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// Two kinds of objects have another name on the wire than within the simulator.
//
// A distributed switch is a VmwareDistributedVirtualSwitch in a real vCenter, and
// the provider insists on it; the simulator has only the abstract base type, and
// checks its objects' fields by that name. Requests are translated after they are
// decoded, answers by the one attribute that carries the name, because the
// simulator has no hook between an answer and its encoding.
//
// A cluster may be addressed by its base type ComputeResource, as the provider
// does; the simulator looks objects up by the exact type.
const (
	switchOutside = "VmwareDistributedVirtualSwitch"
	switchInside  = "DistributedVirtualSwitch"
)

func internalName(name string) string {
	if name == switchOutside {
		return switchInside
	}
	return name
}

func internalReference(ref types.ManagedObjectReference) types.ManagedObjectReference {
	if ref.Type == "ComputeResource" && strings.HasPrefix(ref.Value, "domain-c") {
		ref.Type = "ClusterComputeResource"
	}
	ref.Type = internalName(ref.Type)
	return ref
}

var (
	referenceType = reflect.TypeFor[types.ManagedObjectReference]()
	stringsType   = reflect.TypeFor[[]string]()
)

// internalTypes translates every reference and every field called Type in a request.
func internalTypes(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			internalTypes(value.Elem())
		}
	case reflect.Slice:
		for i := range value.Len() {
			internalTypes(value.Index(i))
		}
	case reflect.Struct:
		if value.Type() == referenceType {
			if value.CanSet() {
				ref := value.Interface().(types.ManagedObjectReference)
				value.Set(reflect.ValueOf(internalReference(ref)))
			}
			return
		}
		for i := range value.NumField() {
			field := value.Type().Field(i)
			switch {
			case !field.IsExported():
			case field.Name == "Type":
				internalTypeField(value.Field(i))
			default:
				internalTypes(value.Field(i))
			}
		}
	}
}

func internalTypeField(value reflect.Value) {
	switch {
	case !value.CanSet():
	case value.Kind() == reflect.String:
		value.SetString(internalName(value.String()))
	case value.Type() == stringsType:
		for i := range value.Len() {
			internalTypeField(value.Index(i))
		}
	}
}

// outsideNames translates the answers of the SOAP endpoint.
func outsideNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(outsideWriter{w}, r)
	})
}

// outsideWriter relies on the simulator writing each answer in one piece.
type outsideWriter struct {
	http.ResponseWriter
}

var (
	inside  = []byte(` type="` + switchInside + `"`)
	outside = []byte(` type="` + switchOutside + `"`)
)

func (w outsideWriter) Write(answer []byte) (int, error) {
	if _, err := w.ResponseWriter.Write(bytes.ReplaceAll(answer, inside, outside)); err != nil {
		return 0, err
	}
	return len(answer), nil
}
