"""A pass cut in pieces for workers of dask.distributed, and put together again in a fixed order."""
