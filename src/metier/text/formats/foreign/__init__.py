"""What other programs export, one small module each: a record becomes one or several rows of our own formats."""
