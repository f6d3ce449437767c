"""Speed and accuracy, as ratios between two things measured in one run."""
