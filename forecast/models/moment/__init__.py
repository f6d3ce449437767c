"""MOMENT of the Auton Lab."""
