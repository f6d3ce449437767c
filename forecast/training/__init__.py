"""Training as a job: read from a request, run in a child process, kept as a folder."""
