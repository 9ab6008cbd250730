"""Prefect flows, paths, publishing and the command line: all that knows where things lie."""
