"""How a gradient becomes an update: torch's optimisers and kept libraries, stepped and saved in one way."""
