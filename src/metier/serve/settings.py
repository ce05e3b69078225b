"""How `metier serve` runs; imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from metier.core.settings import Settings
from metier.model.contract import Target
from metier.score.graders.settings import JudgeSettings


class LimitSettings(Settings):
    """How much the server takes on."""

    together: int = Field(16, ge=1, le=1024)
    """Most answers that a base writes at once; more wait."""

    waiting: int = Field(256, ge=0)
    """Most requests that wait for a base; more are answered with 429 and Retry-After. However many answers a request
    wants (`n`, the answers on offer of a decision), it is one."""

    read_tokens: int = Field(256, ge=16)
    """Most tokens of new prompts in one pass: more reads prompts faster, less lets running answers flow evenly."""

    requests_per_minute: int | None = Field(None, ge=1)
    """Most requests of a key in a minute; more are answered with 429 and Retry-After. null: no limit.
    `metier key --limit requests=60` says it for one key."""

    tokens_per_minute: int | None = Field(None, ge=1)
    """Most tokens of a key in a minute, prompts and answers together. What `max_tokens` allows is set aside first, what
    was not needed is given back. null: no limit. `metier key --limit tokens=20000` says it for one key."""

    body_mib: float = Field(64, gt=0)
    """Largest request, MiB; a larger one is answered with 413."""

    deadline_seconds: float = Field(600, gt=0)
    """Longest time that a request may take from its arrival, in seconds."""

    drain_seconds: int = Field(30, ge=0)
    """When told to stop: time in seconds for running answers to end; nothing new is accepted."""


class MemorySettings(Settings):
    """What is kept in memory."""

    prefix_mib: int = Field(256, ge=0)
    """Memory for beginnings that were computed before, MiB a base. 0: every prompt is computed whole."""

    adapters_mib: int = Field(1024, ge=1)
    """Memory for adapters, MiB a base; the least recently used leave first and are read again when asked for."""

    models: int = Field(2, ge=1)
    """Most whole models in memory (bases, and runs that cannot be mixed); the least recently used leaves first."""


class PriceSettings(Settings):
    """What tokens cost, in any currency, for a million of them. All 0: no cost is recorded."""

    prompt: float = Field(0, ge=0)
    """Price of a million tokens of prompts."""

    cached: float = Field(0, ge=0)
    """Price of a million tokens of prompts that were not computed again."""

    completion: float = Field(0, ge=0)
    """Price of a million tokens of answers."""

    def of(self, prompt: int, cached: int, completion: int) -> float | None:
        """Return the cost of a request; None: there are no prices."""
        if not (self.prompt or self.cached or self.completion):
            return None
        return ((prompt - cached) * self.prompt + cached * self.cached + completion * self.completion) / 1e6


class RecordSettings(Settings):
    """What is written down about requests."""

    traces: bool = True
    """Record for every request which model answered, tokens, times and how it ended."""

    content: bool = False
    """Record the text of prompts and answers too. They may hold what people would not want kept."""

    content_share: float = Field(1.0, ge=0, le=1)
    """Share of the requests whose texts are recorded, where `content` says that they are."""

    redact: bool = True
    """Replace mail addresses, payment cards, accounts, telephone numbers, network addresses and keys in recorded texts
    by their kind, such as <email>."""

    redact_patterns: tuple[str, ...] = ()
    """Further regular expressions; what they match in recorded texts becomes <redacted>."""

    content_days: int | None = Field(None, ge=1)
    """Days after which recorded texts are deleted. null: never."""

    days: int | None = Field(None, ge=1)
    """Days after which traces and feedback are deleted; those of a rollout that is running stay. null: never."""

    spans: str | None = None
    """Address of an OpenTelemetry collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces: every
    request is sent there as a span, without its texts. Needs the extra `telemetry`. null: none."""

    prices: PriceSettings = PriceSettings()
    """What tokens cost."""


class RolloutSettings(Settings):
    """How a candidate is tried behind a name that people use (`metier rollout`)."""

    kind: Literal["split", "shadow", "canary"] = "canary"
    """`canary`: a small share of the traffic, more while its answers are as good, all of it or none in the end.
    `split`: the share stays. `shadow`: the candidate answers too, unseen, and only that is recorded."""

    share: float = Field(0.1, gt=0, le=1)
    """Share of users (or of conversations, where no user is named) for `split`, of requests for `shadow`."""

    steps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.05, 0.25, 0.5), min_length=1)
    """Shares of a canary, one after the other."""

    least: int = Field(50, ge=1)
    """Judged answers of the candidate (feedback, or `check`) before each step."""

    margin: float = Field(0.05, gt=0, lt=1)
    """How much worse a candidate may be and still be promoted, as a share of answers."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of all that a canary decides, however often it looks."""

    check: str | dict[str, Any] | None = None
    """What every answer must be: `json`, `one_of:VALUE,VALUE`, `matches:PATTERN` (a regular expression for the whole
    answer), or a grader: a `string_check`, a `text_similarity` with its `pass_threshold`, or a `style`, with a
    `reference` of its own. null: only feedback judges answers."""


class GraderSettings(Settings):
    """What graders may do that come with a request (fine-tuning by reinforcement)."""

    python: bool = False
    """Let requests bring graders that are Python programs. They run with limits that hold accidents, not attackers
    (docs/evaluation.md): only for people whom you would let run programs here."""

    judge: JudgeSettings = JudgeSettings()
    """Where the judge is that `score_model` and `label_model` ask. Without a `url` they are refused."""


class ServeSettings(Settings):
    """The server: where it listens, how much it takes on, what it records."""

    host: str = "127.0.0.1"
    """Address to listen at. Anything but this machine itself is refused until `metier key` has made a key."""

    port: int = Field(8000, ge=0, le=65535)
    """Port to listen at. 0: any free one; it is printed."""

    limits: LimitSettings = LimitSettings()
    """How much the server takes on."""

    memory: MemorySettings = MemorySettings()
    """What is kept in memory."""

    record: RecordSettings = RecordSettings()
    """What is written down about requests."""

    rollouts: RolloutSettings = RolloutSettings()
    """How a candidate is tried behind a name that people use."""

    jobs: bool = True
    """Serve /v1/files and /v1/fine_tuning, and run the jobs on this machine."""

    graders: GraderSettings = GraderSettings()
    """What graders may do that come with a request."""

    target: Target | None = None
    """Who will serve what is trained. `metier plan` and `metier train` refuse what it would not load (docs/export.md),
    and `metier prove` goes on to it: to GGUF for `llama.cpp` and `ollama`, over HTTP for `metier`. null: not known."""

    engine: Literal["metier", "vllm", "llama.cpp"] = "metier"
    """Who computes: this process, or a server of the kind named that runs already, at `upstream`. Keys, limits, the
    audit log and traces stay here; models, adapters and rollouts are then that server's matter."""

    upstream: str | None = None
    """Address of the API of the server that computes, such as http://127.0.0.1:8001/v1; METIER_UPSTREAM_KEY holds its
    key. Needs the extra `upstream`. null: none, with `engine: metier`."""

    webhook_hosts: tuple[str, ...] = ()
    """Hosts of your own network (`HOST` or `HOST:PORT`) that webhooks may call, also without encryption. All others
    must be of the open internet and answer by https."""

    moved: ClassVar[Mapping[str, str]] = {
        name: f"{section}.{name}"
        for section, kind in (("limits", LimitSettings), ("memory", MemorySettings), ("record", RecordSettings))
        for name in kind.model_fields
    }
