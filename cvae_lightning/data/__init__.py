"""Data sets, their splits, the loader and the LightningDataModule, and image files of a user's own.

A source knows files; nothing here knows a model. A new data set is a new source with a file in conf/data.
"""
