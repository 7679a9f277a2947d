"""Looks at what stands, through other doors than those that built it, and compares it with the plan."""
