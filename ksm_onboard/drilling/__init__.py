"""Losing things on purpose, or only in thought, to see what stays, what comes back, and what does not."""
