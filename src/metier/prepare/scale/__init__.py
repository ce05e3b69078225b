"""Rows worked on piece by piece: in this process, in several, or on the machines of a Ray cluster."""
