"""The trainers that are timed; each file has `run(job, gate)` and imports its trainer's library only."""
