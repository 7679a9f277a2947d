module ksm-onboard.example/lab/vcenter

go 1.26

require github.com/vmware/govmomi v0.55.1

require gopkg.in/yaml.v3 v3.0.1

require github.com/google/uuid v1.6.0

require golang.org/x/text v0.38.0 // indirect
