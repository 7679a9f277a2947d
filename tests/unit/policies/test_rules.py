"""Every rule on what it lets pass and on what it finds, with the resource, the words and the number."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from ksm_onboard.policies.resources import Hidden, Resource
from ksm_onboard.policies.rules import RULES
from tests.unit.policies.conftest import (
    PLATFORM,
    Spoil,
    change,
    made,
    member,
    platform,
    point,
    port_group,
    verdicts,
    vm,
)

# With nothing of the kind in the sample: nothing is claimed about it.
NOTHING_THERE = {"backup-class", "storage-own", "writing-survives-section"}


def add(*resources: Resource) -> Spoil:
    return lambda there: there.update({resource.name: resource for resource in resources})


def drop(*names: str) -> Spoil:
    def spoil(there: dict[str, Resource]) -> None:
        for name in names:
            del there[name]

    return spoil


def unprotect(there: dict[str, Resource]) -> None:
    there["t-dns01-data"] = replace(there["t-dns01-data"], protect=False)


def put_out(**outputs: Any) -> Spoil:
    return lambda there: there.update({"p-t": replace(there["p-t"], outputs=outputs)})


def platform_says(**facts: Any) -> Spoil:
    return change("t", platform={**PLATFORM, **facts})


def both(*spoils: Spoil) -> Spoil:
    def spoil(there: dict[str, Resource]) -> None:
        for one in spoils:
            one(there)

    return spoil


def disk(policy: object, **more: object) -> dict[str, object]:
    return {"label": "disk0", "storagePolicyId": policy, **more}


def attached(policy: object) -> dict[str, object]:
    return {"label": "disk1", "storagePolicyId": policy, "attach": True}


def databases(*spoils: Spoil) -> Spoil:
    """The sample with database servers instead of name servers."""
    return both(*(change(f"t-dns0{number}-server", role="database") for number in (1, 2)), *spoils)


SINGLE = made("VirtualMachine", "t-mail", inputs=vm(1).inputs, refers=vm(1).refers, parent=vm(1).parent)
USERDATA = base64.b64encode(b"#cloud-config\nusers:\n  - name: ops\n    plain_text_passwd: geheim\n").decode()
CLEAN = base64.b64encode(b"#cloud-config\nusers:\n  - name: ops\n    lock_passwd: true\n").decode()

MEMBER_CASES: list[tuple[str, Spoil, list[tuple[str, str]]]] = [
    (
        "network-own-vlan",
        change("t-management", vlanId=100),
        [("t-management", "shares VLAN 100 with t-infrastructure")],
    ),
    ("network-own-vlan", change("t-management", vlanId=None), [("t-management", "has no VLAN")]),
    ("network-own-vlan", change("t-management", vlanId=0), [("t-management", "has no VLAN")]),
    (
        "network-own-vlan",
        change("t-management", vlanId=None, vlanRanges=[{"minVlan": 1, "maxVlan": 4094}]),
        [("t-management", "carries several VLANs")],
    ),
    (
        "network-own-vlan",
        add(port_group("x", 100, "net-3"), port_group("y", 100, "net-4")),
        [("x", "shares VLAN 100 with t-infrastructure"), ("y", "shares VLAN 100 with t-infrastructure")],
    ),
    (
        "network-closed",
        change("t-management", allowPromiscuous=True, allowMacChanges=None),
        [("t-management", "listen to each other"), ("t-management", "change their hardware address")],
    ),
    (
        "network-closed",
        change("t-infrastructure", allowForgedTransmits=True),
        [("t-infrastructure", "send under foreign addresses")],
    ),
    (
        "network-own",
        change("t-dns01", networkInterfaces=[{"networkId": "net-1"}, {"networkId": "net-9"}]),
        [("t-dns01", "network net-9, which is not the member's own")],
    ),
    (
        "network-own",
        both(point("t-dns01", networkInterfaces=""), change("t-dns01", networkInterfaces=[])),
        [("t-dns01", "connected to no network of the member")],
    ),
    (
        # In a preview that changes the port group, its id is not told; another network still is.
        "network-own",
        both(
            lambda there: there.update({"t-infrastructure": replace(there["t-infrastructure"], id="")}),
            change("t-dns01", networkInterfaces=[{"networkId": "net-1"}, {"networkId": "net-9"}]),
        ),
        [("t-dns01", "network net-9, which is not the member's own")],
    ),
    (
        "network-one-zone",
        point(
            "t-dns01",
            networkInterfaces="DistributedPortGroup:t-infrastructure DistributedPortGroup:t-management",
        ),
        [
            ("t-dns01", "several zones at once: t-infrastructure, t-management"),
            ("t-dns01", "tagged with zone 'infrastructure', but connected to t-management"),
        ],
    ),
    (
        "network-admin-zones",
        point("t-dns01", networkInterfaces="DistributedPortGroup:t-management"),
        [("t-dns01", "has the role 'dns' and an interface in the zone 'management'")],
    ),
    ("section-preferred", drop("t-in-a"), [("t-dns01", "no enabled VM-host rule ties it")]),
    ("section-preferred", change("t-in-a", enabled=False), [("t-dns01", "no enabled VM-host rule ties it")]),
    ("section-preferred", change("t-in-a", mandatory=True), [("t-in-a", "is a must-rule")]),
    (
        "section-preferred",
        change("t-in-a", affinityHostGroupName="elsewhere"),
        [("t-dns01", "tied to 'elsewhere', which is no fire section")],
    ),
    (
        "section-preferred",
        change("t-in-a", antiAffinityHostGroupName="ksm-section-b"),
        [("t-in-a", "keeps VMs away from hosts")],
    ),
    (
        "section-preferred",
        point("t-b", virtualMachineIds="VirtualMachine:t-dns01 VirtualMachine:t-dns02"),
        [("t-dns01", "tied to several host groups at once: ksm-section-a, ksm-section-b")],
    ),
    # Anti-affinity alone separates hosts, not sections: the trap.
    (
        "pair-across-sections",
        change("t-in-b", affinityHostGroupName="ksm-section-a"),
        [("t-apart", "not in different fire sections: t-dns01 in ksm-section-a, t-dns02 in ksm-section-a")],
    ),
    ("pair-across-sections", change("t-apart", enabled=False), [("t-apart", "is switched off")]),
    ("pair-across-sections", point("t-apart", virtualMachineIds="VirtualMachine:t-dns01"), [("t-apart", "no pair")]),
    # VM-host rules alone separate sections, but after a fail-over both may end on one host.
    ("alike-apart", drop("t-apart"), [("t-dns01", "apart from t-dns02"), ("t-dns02", "apart from t-dns01")]),
    (
        "level-1-partner",
        drop("t-apart"),
        [("t-dns01", "level 1 and has no partner"), ("t-dns02", "level 1 and has no partner")],
    ),
    ("level-1-partner", add(SINGLE), [("t-mail", "level 1 and has no partner")]),
    ("data-kept", unprotect, [("t-dns01-data", "is not protected")]),
    (
        "data-kept",
        change("t-dns02", disks=[disk("policy-gold"), {"label": "disk1", "storagePolicyId": "policy-b"}]),
        [("t-dns02", "disk1 is deleted together with the VM")],
    ),
    (
        "storage-survives-section",
        change("t-dns02", disks=[disk("policy-gold")]),
        [("t-dns01", "disk1 lies in one fire section only (tier 'local-a')")],
    ),
    (
        "storage-survives-section",
        drop("t-apart"),
        [("t-dns01", "disk1 lies in one fire section"), ("t-dns02", "disk1 lies in one fire section")],
    ),
    (
        "storage-survives-section",
        change("t-dns01", disks=[disk(None)]),
        [("t-dns01", "disk0 has no storage policy"), ("t-dns02", "disk1 lies in one fire section only")],
    ),
    (
        "writing-survives-section",
        databases(),
        [("t-dns01", "none of its copies (with t-dns02) is mirrored: one of them accepts the writes")],
    ),
    (
        "writing-survives-section",
        databases(change("t-dns02", disks=[disk("policy-gold"), attached("policy-gold")])),
        [],
    ),
    (
        "writing-survives-section",
        databases(change("t-dns01", disks=[disk("policy-a"), attached("policy-gold")])),
        [("t-dns01", "none of its copies")],
    ),
    # Nobody replicates: told by storage-survives-section.
    ("writing-survives-section", databases(drop("t-apart")), []),
    (
        "storage-encrypted",
        change("t-dns01", disks=[disk("policy-open")]),
        [("t-dns01", "'open', which is not encrypted")],
    ),
    (
        "storage-own",
        add(made("NasDatastore", "t-store", id="store-1")),
        [("t-dns01", "lies on no datastore of its member"), ("t-dns02", "lies on no datastore of its member")],
    ),
    (
        "storage-own",
        both(
            add(made("NasDatastore", "t-store", id="store-1")),
            point("t-dns01", datastoreId="NasDatastore:t-store"),
            point("t-dns02", datastoreId="NasDatastore:t-store"),
            change("t-dns02", disks=[disk("policy-gold", datastoreId="store-9")]),
        ),
        [("t-dns02", "disk0 lies on the datastore store-9, which is not the member's own")],
    ),
    ("tenant-places", point("t-dns01", folder=""), [("t-dns01", "outside of its member's folder (t)")]),
    (
        "tenant-places",
        both(point("t-dns01", resourcePoolId=""), change("t-dns01", resourcePoolId=Hidden.UNKNOWN)),
        [("t-dns01", "resource pool that does not come from its member's stack")],
    ),
    ("tenant-limits", change("t-pool", memoryLimit=-1), [("t", "has no limit for memory")]),
    ("tenant-limits", change("t-pool", cpuLimit=None), [("t", "has no limit for processor time")]),
    (
        "tenant-limits",
        change("t-dns01", memory=4097),
        [("t", "its 2 VMs have 8193 MiB of memory, the limit is 8192 MiB")],
    ),
    ("tags-complete", point("t-dns01", tags=""), [("t-dns01", "carries no tag of its member")]),
    (
        "tags-complete",
        change("t-dns01", tags=["member-t", "zone-infrastructure", "section-a"]),
        [("t-dns01", "exactly one tag of the category 'ksm-service-level'")],
    ),
    (
        "tags-complete",
        change("t-dns01", tags=["zone-infrastructure", "zone-management", "section-a", "level-1"]),
        [("t-dns01", "exactly one tag of the category 'ksm-zone'")],
    ),
    (
        "backup-class",
        platform_says(tag_ids={**PLATFORM["tag_ids"], "ksm-backup-class": {"daily": "backup-daily"}}),
        [("t-dns01", "no tag of the category 'ksm-backup-class'"), ("t-dns02", "no tag of the category")],
    ),
    (
        "rights-least",
        change("t-permissions", permissions=[{"userOrGroup": "boss", "isGroup": False, "roleId": "-1"}]),
        [("t-permissions", "single account 'boss'"), ("t-permissions", "makes 'boss' an administrator")],
    ),
    (
        "rights-least",
        change("t-permissions", permissions=[{"userOrGroup": "g", "isGroup": True, "roleId": "99"}]),
        [("t-permissions", "gives 'g' the role 99, which is none of the platform's")],
    ),
    ("rights-least", point("t-permissions", entityId=""), [("t-permissions", "is not the member's own")]),
    ("secrets-hidden", put_out(db={"password": "geheim"}), [("p-t", "output 'db.password' looks like a secret")]),
    (
        "secrets-hidden",
        put_out(keys=["-----BEGIN OPENSSH PRIVATE KEY-----\nabc"]),
        [("p-t", "output 'keys[0]' looks like a secret")],
    ),
    (
        "secrets-hidden",
        change("t-dns01", extraConfig={"guestinfo.userdata": USERDATA}),
        [("t-dns01", "'guestinfo.userdata' holds a password or private key")],
    ),
]

PLATFORM_CASES: list[tuple[str, Spoil, list[tuple[str, str]]]] = [
    (
        "roles-least",
        change("ksm-operator", rolePrivileges=["VirtualMachine.*", "Authorization.ModifyRoles"]),
        [("ksm-operator", "family of privileges: 'VirtualMachine.*'"), ("ksm-operator", "'Authorization.ModifyRoles'")],
    ),
    ("roles-least", change("ksm-operator", name="Admin"), [("ksm-operator", "vCenter's own administrator role")]),
    ("sections-equal", drop("b"), [("a", "is the only fire section")]),
    (
        "sections-equal",
        change("b", hostSystemIds=["host-2", "host-3"]),
        [("a", "host host-2 stands in several"), ("b", "host host-2 stands in several")],
    ),
    ("sections-equal", change("b", hostSystemIds=["host-3"]), [("a", "differ in their number of hosts (a: 2, b: 1)")]),
    ("cluster-survives-section", change("cluster", haEnabled=False), [("cluster", "high availability is not")]),
    (
        "cluster-survives-section",
        change("cluster", haAdmissionControlResourcePercentageMemory=25, drsEnabled=None),
        [("cluster", "less than 50 % of the memory"), ("cluster", "DRS is not switched on")],
    ),
    (
        "cluster-survives-section",
        change("cluster", haAdmissionControlPolicy="disabled", haHostIsolationResponse="none"),
        [("cluster", "does not reserve a share"), ("cluster", "isolated host keeps its VMs running")],
    ),
]


def start(kind: str) -> dict[str, Resource]:
    return member() if kind == "member" else platform()


def test_a_member_that_does_all_right_violates_nothing() -> None:
    told = verdicts(start("member"))
    assert {rule: v.findings for rule, v in told.items() if v.findings} == {}
    assert {rule for rule, v in told.items() if v.outcome == "not checkable"} == NOTHING_THERE
    assert {rule: v.judged for rule, v in told.items()} == {
        "tenant-places": 2,
        "tenant-limits": 1,
        "tags-complete": 4,
        "backup-class": 0,
        "rights-least": 1,
        "secrets-hidden": 6,
        "network-own-vlan": 2,
        "network-closed": 2,
        "network-own": 2,
        "network-one-zone": 2,
        "network-admin-zones": 2,
        "section-preferred": 2,
        "pair-across-sections": 1,
        "alike-apart": 2,
        "level-1-partner": 2,
        "data-kept": 4,
        "storage-survives-section": 2,
        "writing-survives-section": 0,
        "storage-encrypted": 2,
        "storage-own": 0,
    }


def test_a_platform_that_does_all_right_violates_nothing() -> None:
    told = verdicts(start("platform"))
    assert {rule: (v.outcome, v.judged) for rule, v in told.items()} == {
        "secrets-hidden": ("fulfilled", 1),
        "roles-least": ("fulfilled", 1),
        "sections-equal": ("fulfilled", 2),
        "cluster-survives-section": ("fulfilled", 1),
    }


CASES = [("member", *case) for case in MEMBER_CASES] + [("platform", *case) for case in PLATFORM_CASES]


@pytest.mark.parametrize(
    ("kind", "rule", "spoil", "expected"), CASES, ids=[f"{case[1]}-{number}" for number, case in enumerate(CASES)]
)
def test_what_is_wrong_is_found_where_it_is(
    kind: str, rule: str, spoil: Spoil, expected: list[tuple[str, str]]
) -> None:
    there = start(kind)
    spoil(there)
    found = [(finding.resource.name, finding.message) for finding in verdicts(there)[rule].findings]
    assert len(found) == len(expected), found
    for (name, words), (found_name, message) in zip(expected, found, strict=True):
        assert (found_name, words in message) == (name, True), found


def test_every_rule_has_a_case() -> None:
    assert {case[1] for case in CASES} == set(RULES)


def test_secret_outputs_and_locked_passwords_are_no_secrets_in_the_open() -> None:
    there = start("member")
    put_out(password=Hidden.SECRET, token="", passphrase=Hidden.UNKNOWN)(there)
    change("t-dns01", extraConfig={"guestinfo.userdata": CLEAN})(there)
    assert verdicts(there)["secrets-hidden"].outcome == "fulfilled"


def test_what_is_not_known_yet_is_not_held_against_anybody() -> None:
    there = start("member")
    change("t-dns01", networkInterfaces=[{"networkId": Hidden.UNKNOWN}])(there)
    change("t-dns01", disks=[disk(Hidden.UNKNOWN)])(there)
    change("t-management", vlanId=Hidden.UNKNOWN)(there)
    change("t-permissions", permissions=[{"userOrGroup": "g", "isGroup": True, "roleId": Hidden.UNKNOWN}])(there)
    # The member's own tag is made in the same run, the platform's are there.
    change("t-dns01", tags=[Hidden.UNKNOWN, "zone-infrastructure", "section-a", "level-1"])(there)
    told = verdicts(there)
    for rule in ("network-own", "network-own-vlan", "storage-encrypted", "rights-least", "tags-complete"):
        assert told[rule].outcome == "fulfilled", rule


def test_a_stack_that_does_not_say_what_it_is_is_judged_most_strictly() -> None:
    there = start("member")
    del there["t"]
    unprotect(there)
    told = verdicts(there)
    assert told["data-kept"].findings[0].stops
    assert told["tags-complete"].outcome == "violated"
    assert told["storage-encrypted"].outcome == "not checkable"


def test_a_port_group_that_is_about_to_be_changed_is_still_the_members_own() -> None:
    there = member()
    there["t-infrastructure"] = replace(there["t-infrastructure"], id="")
    assert not verdicts(there)["network-own"].findings
