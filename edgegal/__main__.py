"""`python -m edgegal`."""

from edgegal.cli import main

main()
