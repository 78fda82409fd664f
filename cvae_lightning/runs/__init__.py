"""Run directories and sweep directories, and what is said about a finished run.

That is its metrics.json, its summary, its model card, and the paper's numbers beside it. Reading a run needs neither
torch nor Hydra. How a run comes about is a matter of `training`.
"""
