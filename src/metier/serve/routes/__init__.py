"""What can be asked over HTTP, one file a family of paths."""
