"""What a step minimises: each objective weighs a batch and gives its undivided loss."""
