"""The embedded default: a data centre on this machine, as real as one machine allows.

Reads as a story in this order: ``prerequisites`` and ``preflight`` (what the machine must have),
``engine`` and ``language_host`` (Pulumi without its installer), ``base_image`` and ``hosts``
(real Debian machines), ``guest_driver`` (what the simulated vCenter calls when a VM is switched
on), ``packages`` (one download per machine), ``certificates``, and ``instance`` (up, down, status).
"""
