"""`python -m edge_seg.apps`: the command line where its script is not on the path."""

from edge_seg.apps.cli import main

main()
