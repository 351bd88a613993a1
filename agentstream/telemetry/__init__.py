"""Sessions, runs and steps as OpenTelemetry spans and metrics (`docs/telemetry.md`). Needs the extra `otel`."""

try:  # the API alone: the program brings its SDK and exporter
    from agentstream.telemetry.live import instrument, uninstrument
    from agentstream.telemetry.record import export_spans
except ModuleNotFoundError as error:
    if not str(error.name).startswith("opentelemetry"):
        raise
    raise ImportError(
        'telemetry needs the OpenTelemetry API: pip install "agentstream-sdk[otel]" (and an SDK with an exporter)'
    ) from error

__all__ = ["export_spans", "instrument", "uninstrument"]
