"""The ways of updating weights: each says what trains, and leaves every other number of the base as it is."""
