"""What was trained in the form that a server loads, each form loaded there and compared before it is published."""
