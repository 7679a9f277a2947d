"""What the software depots really serve, asked over HTTPS as a machine would, trusting the data centre's root only."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import ValidationError

from ksm_onboard.depot.publication import CONTENTS, Contents

_TIMEOUT_SECONDS = 10

Answer = Contents | str
"""What a depot says it serves; or why it could not be asked."""


def served(depots: Mapping[str, IPv4Address], root_ca: Path) -> dict[str, Answer]:
    """The answer of every depot, by name. ``depots``: where each is reached."""
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="depots") as pool:
        answers = pool.map(lambda address: _ask(address, root_ca), depots.values())
        return dict(zip(depots, answers, strict=True))


def differing(answers: Mapping[str, Answer], wanted: Contents | None, now: datetime) -> Iterator[str]:
    """What is wrong with the depots' answers, in words. ``wanted``: what all of them should serve. Pure."""
    for name, answer in answers.items():
        if isinstance(answer, str):
            yield f"{name} serves nothing: {answer}"
            continue
        if wanted is not None and answer.id != wanted.id:
            yield f"{name} serves {answer.id}, not {wanted.id} (ksm-onboard depot publish)"
        if now >= answer.valid_until:
            yield (
                f"{name}: what it serves is valid no longer since {answer.valid_until:%Y-%m-%d}: machines refuse it "
                "(ksm-onboard depot publish)"
            )


def _ask(address: IPv4Address, root_ca: Path) -> Answer:
    try:
        trusted = ssl.create_default_context(cafile=str(root_ca))
        connection = http.client.HTTPSConnection(str(address), timeout=_TIMEOUT_SECONDS, context=trusted)
        try:
            connection.request("GET", f"/{CONTENTS}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            return f"it answers {response.status} {response.reason}"
        return Contents.model_validate_json(body)
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    except ValidationError:
        return f"its {CONTENTS} cannot be understood"
