"""Many sequences through one model call: packed without padding, attended apart, scored at labels only."""
