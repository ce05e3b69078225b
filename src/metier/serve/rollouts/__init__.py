"""Two models behind one name: divided traffic, answers beside the answers, and a decision that the numbers make."""
