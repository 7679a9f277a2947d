#!powershell

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        drive = @{ type = 'str'; default = 'C:' }
        method = @{ type = 'str'; default = 'xts_aes256'; choices = 'xts_aes128', 'xts_aes256' }
        backup_to_directory = @{ type = 'bool'; default = $false }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$drive = $module.Params.drive.ToUpperInvariant()
$methods = @{ xts_aes128 = 'XtsAes128'; xts_aes256 = 'XtsAes256' }

function Get-Found {
    try {
        $volume = Get-BitLockerVolume -MountPoint $drive -ErrorAction Stop
    }
    catch {
        $module.FailJson("there is no drive $drive that BitLocker knows: $($_.Exception.Message)", $_)
    }
    $protection = 'off'
    if ("$($volume.ProtectionStatus)" -eq 'On') { $protection = 'on' }
    elseif ("$($volume.VolumeStatus)" -eq 'EncryptionInProgress') { $protection = 'encrypting' }
    $method = ''
    foreach ($name in $methods.Keys) {
        if ($methods[$name] -eq "$($volume.EncryptionMethod)") { $method = $name }
    }
    @{
        protection = $protection
        method = $method
        protectors = @($volume.KeyProtector | ForEach-Object { "$($_.KeyProtectorType)" } | Sort-Object -Unique)
    }
}

$before = Get-Found
$after = $before.Clone()
if ($before.protection -eq 'off') {
    $after.protection = 'on'
    if ($before.method -eq '') { $after.method = $module.Params.method }
    $after.protectors = @('RecoveryPassword', 'Tpm')
}

$module.Result.drive = $drive
$module.Result.changed = $before.protection -eq 'off'
$module.Diff.before = $before
$module.Diff.after = $after

if ($module.Result.changed -and -not $module.CheckMode) {
    try {
        # The recovery password comes first: from then on the drive can be opened whatever becomes of the TPM.
        if ($before.protectors -notcontains 'RecoveryPassword') {
            $null = Add-BitLockerKeyProtector -MountPoint $drive -RecoveryPasswordProtector -WarningAction SilentlyContinue
        }
        if ($module.Params.backup_to_directory) {
            $volume = Get-BitLockerVolume -MountPoint $drive
            foreach ($protector in @($volume.KeyProtector | Where-Object { "$($_.KeyProtectorType)" -eq 'RecoveryPassword' })) {
                $null = Backup-BitLockerKeyProtector -MountPoint $drive -KeyProtectorId $protector.KeyProtectorId
            }
        }
        if ($before.method -ne '') {
            $null = Resume-BitLocker -MountPoint $drive
        }
        else {
            $method = $methods[$module.Params.method]
            $null = Enable-BitLocker -MountPoint $drive -EncryptionMethod $method -UsedSpaceOnly -TpmProtector -SkipHardwareTest
        }
    }
    catch {
        $module.FailJson("drive $drive could not be encrypted: $($_.Exception.Message)", $_)
    }
    $after = Get-Found
}

$shown = $before
if (-not $module.CheckMode) { $shown = $after }
$module.Result.protection = $shown.protection
$module.Result.method = $shown.method
$module.Result.protectors = $shown.protectors
$module.ExitJson()
