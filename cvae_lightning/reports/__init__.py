"""The report of a sweep: a csv file, Markdown, an HTML page, and lines for the terminal.

Everything in it is read from run directories.
"""
