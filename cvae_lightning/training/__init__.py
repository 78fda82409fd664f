"""One run, from its configuration to metrics.json.

`parts` builds what a training is made of, and `train` reads from top to bottom. `callbacks` holds what happens during
the steps; `evaluate` measures a finished run again.
"""
