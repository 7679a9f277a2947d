"""Onboarding a member: the stages of the flow, one after the other."""
