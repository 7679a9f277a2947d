package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// AddAuthorizationRole answers with the new role's id. The simulator creates the
// role but always answers 0, so that every permission would refer to the first one.
func (a *additions) AddAuthorizationRole(ctx *simulator.Context, req *types.AddAuthorizationRole) soap.HasFault {
	manager := ctx.Map.Get(req.This).(*simulator.AuthorizationManager)
	var res soap.HasFault
	ctx.WithLock(manager, func() {
		res = manager.AddAuthorizationRole(req)
		if body := res.(*methods.AddAuthorizationRoleBody); body.Res != nil {
			body.Res.Returnval = manager.RoleList[len(manager.RoleList)-1].RoleId
		}
	})
	return res
}
