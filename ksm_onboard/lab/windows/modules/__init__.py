"""What each known module does to a simulated host and answers. A module that is not here is refused.

In check mode a module works on a copy of the host that is thrown away, so that both modes answer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ksm_onboard.lab.windows.modules import accounts, files, protection, questions, settings, software
from ksm_onboard.lab.windows.modules.answering import Answer, Situation

Module = Callable[[Situation, dict[str, Any]], Answer]

KNOWN: Final[Mapping[str, Module]] = {
    **questions.MODULES,
    **settings.MODULES,
    **accounts.MODULES,
    **files.MODULES,
    **software.MODULES,
    **protection.MODULES,
}
"""Module → behaviour, by the full names that Ansible sends."""
