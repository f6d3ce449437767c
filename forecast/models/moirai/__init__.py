"""Moirai of Salesforce: 1.x, mixture of experts, and 2."""
