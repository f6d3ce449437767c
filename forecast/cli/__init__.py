"""The command line: `forecast …`."""
