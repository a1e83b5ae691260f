"""One file a section of the page; the list of them is in ``voxstrata.report.section``."""
