"""Lets `python -m takeback` run the command line."""

from takeback.cli import main

main()
