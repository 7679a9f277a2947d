"""The policy pack: rules that judge resources, whoever made them.

The rules know neither declarations nor plans. They see what the engine is about to do (or,
from a stack's state, has done) and decide for themselves whether it may be: a mistake in
planning or provisioning does not excuse itself here. Nothing in this package imports from
the other rooms.
"""
