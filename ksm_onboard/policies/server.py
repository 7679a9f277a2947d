"""The policy pack as the engine talks to it (``pulumirpc.Analyzer``).

Not built on the policy SDK, because that fixes whether a violation stops the run before the member is known,
judges only outputs (in a preview, a new VM group has none that name its VMs), shows secrets like any other
value, and takes all resources apart anew for each rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent import futures
from datetime import date
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from ksm_onboard.policies.judge import Finding, judge, told
from ksm_onboard.policies.model import CATALOGUE, EDITION, PACK, VERSION, Rule, enforcement
from ksm_onboard.policies.resources import Resource, Stack, plain
from ksm_onboard.policies.rules import RULES

_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Bytes; the engine's own limit for its gRPC messages."""

_LEVELS = {"mandatory": analyzer_pb2.MANDATORY, "advisory": analyzer_pb2.ADVISORY}


# Every resource of these types is asked for by the program; providers and the stack itself are the engine's.
_ASKED_FOR = ("vsphere:", "ksm:")


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """Collects the resources of one run and judges them together when all are known."""

    def __init__(self, today: Callable[[], date]) -> None:
        self._today = today
        self._inputs: dict[str, Mapping[str, Any]] = {}

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return analyzer_pb2.AnalyzerHandshakeResponse()

    def ConfigureStack(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return analyzer_pb2.AnalyzerStackConfigureResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetAnalyzerInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return analyzer_pb2.AnalyzerInfo(name=PACK, version=VERSION, policies=[_about(rule) for rule in RULES.values()])

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return empty_pb2.Empty()

    def Remediate(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return analyzer_pb2.RemediateResponse()

    def Analyze(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """Keeps what a resource is asked to be; later, only what it has become is told."""
        self._inputs[request.urn] = plain(_data(request.properties))
        return analyzer_pb2.AnalyzeResponse()

    def AnalyzeStack(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """Judges everything. An error in a rule fails the call, and with it the run."""
        stack = Stack.of(self._resource(told_of) for told_of in request.resources if self._stays(told_of))
        verdicts = judge(stack, self._today())
        judged = {verdict.rule.id for verdict in verdicts if verdict.judged}
        return analyzer_pb2.AnalyzeResponse(
            diagnostics=[
                analyzer_pb2.AnalyzeDiagnostic(
                    policyName=finding.rule.id,
                    policyPackName=PACK,
                    policyPackVersion=VERSION,
                    description=finding.rule.title,
                    message=told(finding),
                    urn=finding.resource.urn,
                    enforcementLevel=_LEVELS["mandatory" if finding.stops else "advisory"],
                    severity=_severity(finding),
                )
                for verdict in verdicts
                for finding in verdict.findings
            ],
            not_applicable=[
                analyzer_pb2.PolicyNotApplicable(policy_name=rule.id, reason=rule.absent)
                for rule in RULES.values()
                if rule.id not in judged
            ],
        )

    def _stays(self, told_of: Any) -> bool:
        """Whether the program asked for it. What only stands in the state is told of too, and about to be deleted."""
        return told_of.urn in self._inputs or not self._inputs or not told_of.type.startswith(_ASKED_FOR)

    def _resource(self, told_of: Any) -> Resource:
        outputs = plain(_data(told_of.properties))
        return Resource(
            urn=told_of.urn,
            type=told_of.type,
            name=told_of.name,
            inputs=self._inputs.get(told_of.urn, {}),
            outputs=outputs,
            id=found if isinstance(found := outputs.get("id"), str) else "",
            parent=told_of.parent,
            protect=told_of.options.protect,
            refers={name: frozenset(entry.urns) for name, entry in told_of.propertyDependencies.items()},
        )


def serve(today: Callable[[], date] = date.today) -> None:
    """Serve until the engine ends us; it reads the port from the first line of our output."""
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
    # One run, one process: what was collected belongs to it alone.
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(today), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def _about(rule: Rule) -> Any:
    return analyzer_pb2.PolicyInfo(
        name=rule.id,
        description=rule.title,
        # What holds for members with the lowest protection need; a higher one makes more rules mandatory.
        enforcementLevel=_LEVELS[enforcement(rule, dict.fromkeys(rule.goals, "normal"))],
        policy_type=analyzer_pb2.POLICY_TYPE_STACK,
        framework=analyzer_pb2.PolicyComplianceFramework(
            name=CATALOGUE, version=EDITION, reference=", ".join(requirement.id for requirement in rule.requirements)
        ),
        remediation_steps=rule.todo,
    )


def _severity(finding: Finding) -> Any:
    """How the run's own events tell what stops it, what is advice, and what is waived."""
    if finding.waiver:
        return analyzer_pb2.POLICY_SEVERITY_LOW
    return analyzer_pb2.POLICY_SEVERITY_HIGH if finding.stops else analyzer_pb2.POLICY_SEVERITY_MEDIUM


def _data(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A message's properties as plain data."""
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _data(value.struct_value)
    if kind == "list_value":
        return [_value(entry) for entry in value.list_value.values]
    return None if kind is None or kind == "null_value" else getattr(value, kind)
