"""Serving: what was trained, behind the API that people already use."""
