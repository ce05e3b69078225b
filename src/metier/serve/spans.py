"""Traces as spans of OpenTelemetry, by its conventions for generative AI; the library comes when spans are wanted.

The names stand in one table here, because the conventions are still in development.
"""

from collections.abc import Mapping
from typing import Any

from metier.core import extras

_OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings", "decisions": "decisions"}
_NAMES = {
    "gen_ai.request.model": "asked", "gen_ai.response.model": "model", "gen_ai.response.id": "id",
    "gen_ai.usage.input_tokens": "prompt_tokens", "gen_ai.usage.output_tokens": "completion_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens", "enduser.id": "user", "metier.base": "base",
    "metier.digest": "digest", "metier.rollout": "rollout", "metier.arm": "arm", "metier.beside": "beside",
    "metier.first_token_ms": "first_token_ms", "metier.cost": "cost", "metier.key": "caller",
}  # fmt: skip
"""Attribute of a span -> where it stands in a trace."""

_FAULTS = ("fault", "deadline")


class Spans:
    """Sends spans to a collector, from a thread of the library's own.

    Args:
        address: of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces.
        exporter: instead of the one for that address.

    Raises:
        MissingExtraError: the library is not installed.
    """

    def __init__(self, address: str, exporter: Any = None) -> None:
        sdk = extras.load("opentelemetry.sdk.trace", "telemetry")
        export = extras.load("opentelemetry.sdk.trace.export", "telemetry")
        resources = extras.load("opentelemetry.sdk.resources", "telemetry")
        if exporter is None:
            http = extras.load("opentelemetry.exporter.otlp.proto.http.trace_exporter", "telemetry")
            exporter = http.OTLPSpanExporter(endpoint=address)
        self._api = extras.load("opentelemetry.trace", "telemetry")
        self._parents = extras.load("opentelemetry.trace.propagation.tracecontext", "telemetry")
        self._provider = sdk.TracerProvider(resource=resources.Resource({"service.name": "metier"}))
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("metier")

    def send(self, trace: Mapping[str, Any], parent: str) -> None:
        """Send a trace that has ended as a span.

        Args:
            trace: the fields of a `Trace`.
            parent: the `traceparent` header of the request; empty: it had none.
        """
        operation = _OPERATIONS.get(trace["route"], trace["route"])
        end = int(trace["time"] * 1e9)
        context = self._parents.TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
        span = self._tracer.start_span(
            f"{operation} {trace['model']}", context=context, kind=self._api.SpanKind.SERVER,
            start_time=end - int(trace["total_ms"] * 1e6), attributes=attributes(trace, operation),
        )  # fmt: skip
        if trace["finish"] in _FAULTS:
            span.set_status(self._api.StatusCode.ERROR, trace["finish"])
        span.end(end_time=end)

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


def attributes(trace: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """Return the attributes of a span; what a trace does not know is left out."""
    found = {name: trace[field] for name, field in _NAMES.items() if trace[field] not in (None, "")}
    return found | {
        "gen_ai.operation.name": operation, "gen_ai.provider.name": "metier",
        "gen_ai.response.finish_reasons": (trace["finish"],),
    }  # fmt: skip
