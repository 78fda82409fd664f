"""The classifier that judges samples, and where fitted judges are kept.

Some come with the package; others are trained once and stored beside the data.
"""
