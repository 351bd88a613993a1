"""Spans and metrics, seen through the real SDK of OpenTelemetry."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentstream import Client, instrument


class Seen:
    """A provider, and what reached its exporter."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def spans(self) -> dict[str, ReadableSpan]:
        """By name, those that ended last."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        found = (
            [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
            if data
            else []
        )
        return {metric.name: metric.data.data_points for metric in found}

    def live(self, client: Client, **options: Any) -> Client:
        return instrument(client, tracer_provider=self.provider, meter_provider=self.meters, **options)


def parent_of(seen: Seen, name: str) -> str | None:
    """What a span is below."""
    span = seen.spans()[name]
    by_id = {each.context.span_id: each.name for each in seen.exporter.get_finished_spans() if each.context}
    return by_id.get(span.parent.span_id) if span.parent is not None else None


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What it says."""
    return dict(span.attributes or {})
