"""What graders say of two models' answers, side by side."""
