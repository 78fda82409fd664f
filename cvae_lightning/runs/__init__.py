"""Run directories, sweep directories, and what is written about a finished run.

The latter is its metrics.json, its summary and its model card, with the paper's numbers for comparison. Reading a run
needs neither torch nor Hydra. How a run is trained belongs in `training`.
"""
