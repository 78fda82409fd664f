"""Lightning callbacks: history and checkpoint, which every training has, and those that conf/callbacks names."""
