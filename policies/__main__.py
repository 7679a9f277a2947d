"""The policy pack, as the engine starts it on every preview and up. It decides nothing that the rules do not."""

from __future__ import annotations

from ksm_onboard.policies.server import serve

serve()
