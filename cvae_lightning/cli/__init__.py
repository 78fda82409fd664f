"""The command line, which turns words into a configuration, and an exception into a sentence and an exit status.

Completion in a shell and the directory of a sweep belong here too. What a command computes, draws or writes belongs
in another room; only this one knows Hydra.
"""
