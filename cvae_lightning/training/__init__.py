"""One run, from its configuration to metrics.json.

`parts` builds what a training consists of, and `train` reads from top to bottom. What happens during the steps is in
`callbacks`; `evaluate` measures a finished run again.
"""
