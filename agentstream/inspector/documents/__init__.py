"""What the page reads, made of a folded session: values in, JSON-ready values out. No I/O."""

SCHEMA = "agentstream/inspector/1"
"""The version of the documents."""
