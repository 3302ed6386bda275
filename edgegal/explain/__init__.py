"""What a classifier looked at."""
