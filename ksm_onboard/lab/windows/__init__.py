"""Simulated Windows workstations: what Ansible would send to PowerShell is judged and answered here.

``payload`` takes apart what is sent, ``contract`` judges a module's arguments by its documentation and its own
argument spec, ``modules`` answers as the module documents, ``machine`` keeps what a host has become. The connection
plugin in ``connection_plugins/`` puts them together. Nothing of it executes PowerShell; every answer says that it is
simulated.
"""
