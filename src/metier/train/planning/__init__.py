"""The planner: what a run will need and how long it will take, before a weight is loaded."""
