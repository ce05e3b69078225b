"""From the files people have to a snapshot: rows in = rows out + dropped. Imports no torch."""
