"""What is counted, as Prometheus has it (https://prometheus.io/docs/practices/naming/)."""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.state import State

#: Bounds of latencies, seconds: a reply is at its best after half a second.
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30)
#: Bounds of real-time factors; below 1 keeps up with playback.
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10)


class Counts:
    """Counters and histograms of one server.

    Attributes:
        stages: When each stage of a reply was done, by stage.
        factors: Real-time factors, by task.
        requests: By task, engine and how they ended.
        errors: By kind.
        underruns: Times that a live reply had nothing to play in its middle.

    Args:
        look: Asked at each scrape.
    """

    def __init__(self, look: Callable[[], State]) -> None:
        self.registry = CollectorRegistry()
        self.stages = Histogram(
            "parley_stage_seconds",
            "When a stage was done: encoding, recognition, first_token, first_audio and total "
            "after the request began; vad (the turn is over) and mouth_to_ear after the last "
            "sample of speech of a live turn.",
            ["stage"],
            buckets=LATENCIES,
            registry=self.registry,
        )
        self.factors = Histogram(
            "parley_real_time_factor",
            "Seconds of work per second of speech; below 1 keeps up with playback.",
            ["task"],
            buckets=FACTORS,
            registry=self.registry,
        )
        self.requests = Counter(
            "parley_requests",
            "Requests that are over.",
            ["task", "engine", "outcome"],
            registry=self.registry,
        )
        self.errors = Counter(
            "parley_errors", "Requests that failed.", ["kind"], registry=self.registry
        )
        self.underruns = Counter(
            "parley_underruns",
            "Times that a live reply had nothing to play in its middle.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_Now(look))

    def exposition(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class _Now(Collector):
    """How things stand at the moment of a scrape."""

    def __init__(self, look: Callable[[], State]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        state = self._look()
        yield _gauge("parley_sessions", "Live conversations.", state.live)
        yield _gauge("parley_sessions_waiting", "Callers that wait for one.", state.live_waiting)
        yield _gauge("parley_queue_active", "Requests that are worked on.", state.active)
        yield _gauge("parley_queue_waiting", "Requests that wait for a turn.", state.waiting)
        models = GaugeMetricFamily(
            "parley_model_loaded_bytes",
            "Memory of each model that is loaded, estimated.",
            labels=["model", "device"],
        )
        for model in state.models:
            if model.state == "ready":
                models.add_metric([model.name, model.device], model.memory)
        yield models
        gpus = GaugeMetricFamily(
            "parley_gpu_memory_bytes", "Memory of each GPU.", labels=["device", "state"]
        )
        for gpu in state.gpus:
            gpus.add_metric([gpu.device, "used"], gpu.total - gpu.free)
            gpus.add_metric([gpu.device, "free"], gpu.free)
        yield gpus


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value=value)
