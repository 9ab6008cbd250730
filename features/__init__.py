"""From files of coded events to one cube of proportions, and views of windows on it.

Files and frames in, frames and arrays out: this package knows nothing of models or flows.
"""
