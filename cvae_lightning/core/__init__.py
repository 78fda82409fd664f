"""The foundations of every other room.

User-facing errors, atomic files, locks, random streams, the shapes of tensors, objects from a configuration, and the
style of pictures. Code that knows what a model or a run is does not belong here.
"""
