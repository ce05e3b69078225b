"""Requests as they come over the wire, one file a family of paths."""
