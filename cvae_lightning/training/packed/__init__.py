"""Runs that differ only in lr, beta or seed, trained as one stacked model: many small steps become one large step."""
