"""``python -m voxstrata`` is the command line."""

from voxstrata.cli import main

if __name__ == "__main__":
    main()
