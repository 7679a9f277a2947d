#!powershell

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        printers = @{
            type = 'list'
            elements = 'dict'
            required = $true
            options = @{
                name = @{ type = 'str'; required = $true }
                url = @{ type = 'str'; required = $true }
                location = @{ type = 'str' }
            }
        }
        remove_dropped = @{ type = 'bool'; default = $true }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
# The address is kept in the comment: what Windows makes of it as a port's name differs between versions.
$mark = 'Set up by the operator: '

function Get-Known {
    $known = @{}
    foreach ($printer in @(Get-Printer)) {
        $comment = [string]$printer.Comment
        $managed = $comment.StartsWith($mark)
        $url = [string]$printer.PortName
        if ($managed) { $url = $comment.Substring($mark.Length) }
        $known[$printer.Name] = @{ url = $url; location = [string]$printer.Location; managed = $managed }
    }
    $known
}

$before = Get-Known
$wanted = @{}
foreach ($entry in $module.Params.printers) {
    $wanted[$entry.name] = @{ url = $entry.url; location = [string]$entry.location; managed = $true }
}

$foreign = @($wanted.Keys | Where-Object { $before.ContainsKey($_) -and -not $before[$_].managed } | Sort-Object)
if ($foreign.Count -gt 0) {
    $module.FailJson("printers that somebody else has set up have the same names: " + ($foreign -join ', '))
}

$added = @($wanted.Keys | Where-Object { -not $before.ContainsKey($_) } | Sort-Object)
$removed = @()
if ($module.Params.remove_dropped) {
    $removed = @($before.Keys | Where-Object { $before[$_].managed -and -not $wanted.ContainsKey($_) } | Sort-Object)
}
$updated = @($wanted.Keys | Where-Object {
        $before.ContainsKey($_) -and (
            $before[$_].url -ne $wanted[$_].url -or $before[$_].location -ne $wanted[$_].location)
    } | Sort-Object)

$after = @{}
foreach ($name in $before.Keys) {
    if ($removed -notcontains $name) { $after[$name] = $before[$name] }
}
foreach ($name in $wanted.Keys) { $after[$name] = $wanted[$name] }

$module.Result.added = $added
$module.Result.removed = $removed
$module.Result.updated = $updated
$module.Result.changed = ($added.Count + $removed.Count + $updated.Count) -gt 0
$module.Diff.before = $before
$module.Diff.after = $after

if ($module.Result.changed -and -not $module.CheckMode) {
    try {
        # A printer keeps its port for life: one whose address has changed is set up anew.
        foreach ($name in ($removed + $updated)) { Remove-Printer -Name $name }
        foreach ($name in ($added + $updated)) {
            $url = $wanted[$name].url
            Add-Printer -Name $name -IppURL $url
            Set-Printer -Name $name -Comment ($mark + $url) -Location $wanted[$name].location
        }
    }
    catch {
        $module.FailJson("printers could not be set up: $($_.Exception.Message)", $_)
    }
}

$module.ExitJson()
