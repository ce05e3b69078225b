"""Learning from rewards: answers drawn from the model as it is, graded, and made into the sequences of a step."""
