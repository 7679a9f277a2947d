// Command pulumi-resource-vsphere is the resource plugin that the engine starts
// for every vsphere resource: HashiCorp's provider, unmodified, behind Pulumi's
// bridge. It is the fallback for machines that can reach package registries but
// not the place where Pulumi publishes its own build of the same plugin.
package main

import (
	"github.com/hashicorp/terraform-plugin-sdk/helper/schema"
	"github.com/hashicorp/terraform-provider-vsphere/vsphere"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v1"
)

// version is the release of the Python package pulumi_vsphere whose resource
// tokens this plugin answers to; the engine pairs the two by this number.
const version = "4.18.2"

// schemaless replaces the generated package schema. Only generators of SDKs and
// the YAML runtime read it; a Python program brings its own generated SDK.
var schemaless = []byte("{}")

func main() {
	tfbridge.Main("vsphere", version, bridged(), schemaless)
}

// bridged names every resource and data source the way pulumi_vsphere does.
func bridged() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:         shim.NewProvider(vsphere.Provider().(*schema.Provider)),
		Name:      "vsphere",
		Version:   version,
		GitHubOrg: "hashicorp",
		DataSources: map[string]*tfbridge.DataSourceInfo{
			// The one data source whose published name is not its upstream name.
			"vsphere_storage_policy": {Tok: tfbridge.MakeDataSource("vsphere", "index", "getPolicy")},
		},
	}
	info.MustComputeTokens(tokens.SingleModule("vsphere_", "index", tokens.MakeStandard("vsphere")))
	info.SetAutonaming(255, "-")
	return info
}
