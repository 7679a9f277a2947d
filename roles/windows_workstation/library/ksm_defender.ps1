#!powershell

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        real_time_protection = @{ type = 'bool' }
        cloud_protection = @{ type = 'str'; choices = 'disabled', 'basic', 'advanced' }
        sample_submission = @{ type = 'str'; choices = 'ask', 'safe', 'never', 'all' }
        potentially_unwanted = @{ type = 'str'; choices = 'disabled', 'enabled', 'audit' }
        signature_update_hours = @{ type = 'int' }
        excluded_paths = @{ type = 'list'; elements = 'str' }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

# The numbers are those of Set-MpPreference, each the place in its list.
$cloud = @('disabled', 'basic', 'advanced')
$samples = @('ask', 'safe', 'never', 'all')
$unwanted = @('disabled', 'enabled', 'audit')

function Get-Setting {
    $found = Get-MpPreference
    @{
        real_time_protection = -not $found.DisableRealtimeMonitoring
        cloud_protection = $cloud[[int]$found.MAPSReporting]
        sample_submission = $samples[[int]$found.SubmitSamplesConsent]
        potentially_unwanted = $unwanted[[int]$found.PUAProtection]
        signature_update_hours = [int]$found.SignatureUpdateInterval
        excluded_paths = @($found.ExclusionPath | Where-Object { $_ } | Sort-Object -Unique)
    }
}

$before = Get-Setting
$after = $before.Clone()
$changed = @()
foreach ($name in $spec.options.Keys) {
    $value = $module.Params.$name
    if ($null -eq $value) { continue }
    if ($name -eq 'excluded_paths') { $value = @($value | Sort-Object -Unique) }
    if (($value -join '|') -ne ($before[$name] -join '|')) {
        $after[$name] = $value
        $changed += $name
    }
}

$module.Result.changed = $changed.Count -gt 0
$module.Result.settings = $after
$module.Diff.before = $before
$module.Diff.after = $after

if ($module.Result.changed -and -not $module.CheckMode) {
    $settings = @{}
    if ($changed -contains 'real_time_protection') { $settings.DisableRealtimeMonitoring = -not $after.real_time_protection }
    if ($changed -contains 'cloud_protection') { $settings.MAPSReporting = $cloud.IndexOf($after.cloud_protection) }
    if ($changed -contains 'sample_submission') { $settings.SubmitSamplesConsent = $samples.IndexOf($after.sample_submission) }
    if ($changed -contains 'potentially_unwanted') { $settings.PUAProtection = $unwanted.IndexOf($after.potentially_unwanted) }
    if ($changed -contains 'signature_update_hours') { $settings.SignatureUpdateInterval = $after.signature_update_hours }
    try {
        if ($settings.Count -gt 0) { Set-MpPreference @settings }
        $extra = @($before.excluded_paths | Where-Object { $after.excluded_paths -notcontains $_ })
        $missing = @($after.excluded_paths | Where-Object { $before.excluded_paths -notcontains $_ })
        if ($extra.Count -gt 0) { Remove-MpPreference -ExclusionPath $extra }
        if ($missing.Count -gt 0) { Add-MpPreference -ExclusionPath $missing }
    }
    catch {
        $module.FailJson("Defender could not be configured: $($_.Exception.Message)", $_)
    }
    # Tamper protection and policies let such a call succeed without any effect.
    $now = Get-Setting
    $ignored = @($changed | Where-Object { ($now[$_] -join '|') -ne ($after[$_] -join '|') } | Sort-Object)
    if ($ignored.Count -gt 0) {
        $module.FailJson("Defender ignored the settings (tamper protection or a policy): " + ($ignored -join ', '))
    }
}

$module.ExitJson()
