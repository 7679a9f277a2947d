package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Fetch is how VMware's own Python bindings read one property. The simulator knows
// it too, but answers with another call's response where the property is unset, so
// that a client cannot look at a template's resource pool or a machine without
// snapshots.
type fetchRequest struct {
	This types.ManagedObjectReference `xml:"_this"`
	Prop string                       `xml:"prop"`
}

// FetchResponse names the element of the answer.
type FetchResponse struct {
	Returnval types.AnyType `xml:"returnval,omitempty,typeattr"`
}

type fetchBody struct {
	Req    *fetchRequest  `xml:"urn:vim25 Fetch,omitempty"`
	Res    *FetchResponse `xml:"FetchResponse,omitempty"`
	Fault_ *soap.Fault    `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (b *fetchBody) Fault() *soap.Fault { return b.Fault_ }

// The simulator's request type is private to it; ours takes its place.
func init() {
	types.Add("Fetch", reflect.TypeFor[fetchRequest]())
}

// Fetch reads one property; an unset one is an answer without a value.
func (a *additions) Fetch(ctx *simulator.Context, req *fetchRequest) soap.HasFault {
	body := &fetchBody{Res: &FetchResponse{}}
	if req.This == vim25.ServiceInstance && req.Prop == "content" {
		// The one thing that a client may know before it has logged in.
		body.Res.Returnval = ctx.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content
		return body
	}
	content, fault := readProperty(ctx, req.This, req.Prop)
	switch {
	case fault != nil:
		body.Res, body.Fault_ = nil, fault
	case len(content.PropSet) > 0:
		body.Res.Returnval = content.PropSet[0].Val
	case len(content.MissingSet) > 0:
		missing := content.MissingSet[0].Fault
		body.Res, body.Fault_ = nil, simulator.Fault(missing.LocalizedMessage, missing.Fault)
	}
	return body
}

func readProperty(ctx *simulator.Context, ref types.ManagedObjectReference, name string) (types.ObjectContent, *soap.Fault) {
	service := ctx.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance)
	collector := ctx.Map.Get(service.Content.PropertyCollector).(*simulator.PropertyCollector)
	res := collector.RetrieveProperties(ctx, &types.RetrieveProperties{
		This: service.Content.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet:   []types.PropertySpec{{Type: ref.Type, PathSet: []string{name}}},
			ObjectSet: []types.ObjectSpec{{Obj: ref}},
		}},
	}).(*methods.RetrievePropertiesBody)
	if res.Fault() != nil {
		return types.ObjectContent{}, res.Fault()
	}
	if len(res.Res.Returnval) == 0 {
		return types.ObjectContent{}, simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
	}
	return res.Res.Returnval[0], nil
}
