"""From the files people have to candidates: rows, each with the line it stands on, or the reason why there is none."""
