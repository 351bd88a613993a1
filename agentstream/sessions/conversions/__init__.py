"""A session's messages as other SDKs write them, and back: one form in the middle (`parts.py`), a module an SDK."""
