"""From planned flows to a firewall's rules, and their proof with packets."""
