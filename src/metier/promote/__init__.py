"""What serves is what trained: the parity certificate over saved, reloaded and merged."""
