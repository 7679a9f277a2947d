"""A proof as it is kept for the hand-over protocol: what was tried, when, and with which rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import NotReadyError
from ksm_onboard.firewall.policy import firewall_policy
from ksm_onboard.firewall.proof import ProofResult, prove
from ksm_onboard.firewall.render import as_nft
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project

PROOF_FILE: Final = "zones-proof.json"


class ProofRecord(BaseModel):
    """A proof, when it was made, and the fingerprint of the rules that were loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    rules: str
    result: ProofResult


def fingerprint(rules: str) -> str:
    """Tells rule sets apart."""
    return hashlib.sha256(rules.encode()).hexdigest()[:16]


def save_proof(record: ProofRecord, folder: Path) -> Path:
    """Keep a proof for the protocol; returns its file."""
    path = folder / PROOF_FILE
    write_atomically(path, record.model_dump_json(indent=2) + "\n")
    return path


def load_proof(folder: Path, rules: str) -> ProofRecord | None:
    """The proof that was kept; None if there is none, or it is of other rules than those now planned.

    Raises NotReadyError if the file cannot be read.
    """
    path = folder / PROOF_FILE
    try:
        record = ProofRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise NotReadyError(
            f"the proof {path} cannot be read: {error}", hint="make it again: ksm-onboard lab prove-zones MEMBER"
        ) from None
    return record if record.rules == fingerprint(rules) else None


def proven(project: Project, plan: Plan, said: Callable[[str], None]) -> ProofRecord:
    """Prove the rules that are rendered for a member. Raises what ``prove`` raises."""
    rules = as_nft(firewall_policy(plan.member), project.templates)
    result = prove(plan, rules, said)
    return ProofRecord(at=datetime.now(UTC), rules=fingerprint(rules), result=result)


def kept_proof(project: Project, plan: Plan, folder: Path) -> ProofRecord | None:
    """As ``load_proof``, for the rules that are rendered for a member now."""
    return load_proof(folder, as_nft(firewall_policy(plan.member), project.templates))
