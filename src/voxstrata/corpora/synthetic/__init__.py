"""Speech made here with espeak-ng: see docs/synthetic.md.

``voxstrata.corpora.synthetic.build:build_synthetic`` makes a corpus,
``.config:SyntheticConfig`` describes one, ``.voices:voices`` lists speakers,
``.grammar:sentences`` gives the text alone.
"""
