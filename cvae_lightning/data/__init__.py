"""Data sets, their splits, the loader and the LightningDataModule, and the user's own image files.

A source knows the files of one data set; nothing here knows a model. A new data set needs a source
and a file in conf/data.
"""
