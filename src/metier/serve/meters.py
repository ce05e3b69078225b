"""What Prometheus reads about requests; imports no torch."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from metier.serve.traces import Trace

_LABELS = ("model", "route")


class Meters:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("metier_requests", "Requests by how they ended.", *_LABELS, "finish")
        self._tokens = {
            "prompt_tokens": self._counter("metier_prompt_tokens", "Tokens of prompts.", *_LABELS),
            "cached_tokens": self._counter(
                "metier_cached_tokens", "Tokens of prompts that were not computed again.", *_LABELS
            ),
            "completion_tokens": self._counter("metier_completion_tokens", "Tokens of answers.", *_LABELS),
        }
        self._cost = self._counter("metier_cost", "Cost at the prices of the settings.", *_LABELS)
        self._first = Histogram(
            "metier_first_token_seconds", "Time to the first token.", _LABELS, registry=self.registry
        )
        self._total = Histogram(
            "metier_request_seconds", "Time to the end of the answer.", _LABELS, registry=self.registry
        )
        self._arms = self._counter("metier_rollout_requests", "Requests of rollouts.", "alias", "arm", "finish")
        self._refused = self._counter("metier_refused", "Requests that were not let in, by why.", "code")

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def refuse(self, code: str) -> None:
        """Count a request that was not let in; codes are the gate's own words."""
        self._refused.labels(code).inc()

    def count(self, trace: Trace) -> None:
        """Count a request that has ended; answers that nobody hears are counted for their rollout only."""
        if trace.rollout:
            self._arms.labels(trace.asked, trace.arm, trace.finish).inc()
        if trace.beside:
            return
        labels = (trace.model, trace.route)
        self._requests.labels(*labels, trace.finish).inc()
        for name, counter in self._tokens.items():
            counter.labels(*labels).inc(getattr(trace, name))
        self._cost.labels(*labels).inc(trace.cost or 0)
        self._total.labels(*labels).observe(trace.total_ms / 1e3)
        if trace.first_token_ms is not None:
            self._first.labels(*labels).observe(trace.first_token_ms / 1e3)
