"""The inspector: one page on which a recorded session is seen, stepped through, compared, branched and answered.

`documents/` makes of a record what the page reads (pure), `app.py` serves it, `exporting.py` writes a session and the
page into one file. The page itself is built from `inspector/` at the top of the repository into `static/`.
"""
