"""Personal data and secrets in rows: found, counted, replaced or dropped, and proven absent from what is written."""
