"""What Windows workstations must say for a plan, point by point. Pure: plan and facts in, points out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ksm_onboard.planning.plan import ApplicationPlan, Plan, WorkstationPlan
from ksm_onboard.planning.windows import bookmarked_on_windows
from ksm_onboard.verifying.audit_report import Area, MachineSeen
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.windows_hosts import BROWSER, SYSTEM, TIME, UPDATES, WindowsFacts

FEEDS = ("ksm", "ksm-other")
"""The only sources that Chocolatey may ask: the two depots."""


def compare_windows(
    plan: Plan, machine: WorkstationPlan, facts: WindowsFacts, root_ca: str, points: Comparison
) -> MachineSeen:
    """Compare what one workstation said; ``root_ca`` is the certificate (PEM) that it must trust."""
    baseline, name = plan.platform.baseline, machine.name
    system, updates, time = (facts.registry.get(key, {}) for key in (SYSTEM, UPDATES, TIME))

    def same(attribute: str, expected: object, found: object, how: str) -> None:
        points.same(Area.MACHINES, name, attribute, expected, found, how=_how(facts, how))

    same("answers", "yes", "yes", "setup")
    same("host_name", name, facts.host_name, "setup")
    same("time_servers", baseline.ntp_servers, _time_servers(time), "win_reg_stat")
    same("security_updates", True, (updates.get("NoAutoUpdate"), updates.get("AUOptions")) == (0, 4), "win_reg_stat")
    same("login_banner", baseline.login_banner.strip(), system.get("legalnoticetext"), "win_reg_stat")
    same("screen_lock_seconds", baseline.screen_lock_minutes * 60, system.get("InactivityTimeoutSecs"), "win_reg_stat")
    same("root_ca", True, thumbprint(root_ca) in facts.thumbprints, "win_certificate_info")
    same("package_sources", FEEDS, facts.sources, "win_chocolatey_facts")
    parts = _applications(plan, machine, facts, points)
    system_name = f"{facts.operating_system} (simuliert)" if facts.simulated else facts.operating_system
    return MachineSeen(
        name=name, kind="workstation", operating_system=system_name, applications=parts, simulated=facts.simulated
    )


def _applications(
    plan: Plan, machine: WorkstationPlan, facts: WindowsFacts, points: Comparison
) -> dict[str, Mapping[str, str | None]]:
    by_key = {application.key: application for application in plan.member.applications}
    offered = _bookmarks(facts.registry.get(BROWSER, {}))
    parts: dict[str, Mapping[str, str | None]] = {}
    for key in machine.applications:
        application, label = by_key[key], f"{machine.name}: {key}"
        parts[key] = windows_parts(application, facts)
        if (package := application.windows_package) is not None:
            how = _how(facts, "win_chocolatey_facts")
            points.present(Area.APPLICATIONS, label, "package", facts.packages.get(package), expected=package, how=how)
        elif (url := bookmarked_on_windows(application)) is not None:
            how = _how(facts, "win_reg_stat")
            points.present(Area.APPLICATIONS, label, "bookmark", url in offered, expected=url, how=how)
    return parts


def windows_parts(application: ApplicationPlan, facts: WindowsFacts) -> dict[str, str | None]:
    """What of an application is there: its package with the version, or its bookmark; None: missing. Empty: no part."""
    if (package := application.windows_package) is not None:
        return {package: facts.packages.get(package)}
    offered, url = _bookmarks(facts.registry.get(BROWSER, {})), bookmarked_on_windows(application)
    return {} if url is None else {url: "bookmark" if url in offered else None}


def thumbprint(pem: str) -> str:
    """How Windows names a certificate: SHA-1, which here only names and proves nothing."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303


def _time_servers(values: Mapping[str, Any]) -> tuple[str, ...]:
    if values.get("Type") != "NTP":
        return ()
    return tuple(entry.split(",", 1)[0] for entry in str(values.get("NtpServer", "")).split())


def _bookmarks(values: Mapping[str, Any]) -> set[str]:
    try:
        entries = json.loads(values.get("ManagedFavorites", "[]"))
    except ValueError:
        return set()
    return {str(entry["url"]) for entry in entries if isinstance(entry, dict) and "url" in entry}


def _how(facts: WindowsFacts, module: str) -> str:
    return f"Ansible (simulated): {module}" if facts.simulated else f"Ansible: {module}"
