"""A record as people see it: rows, values in a line, states and comparisons as documents. For the faces above."""
