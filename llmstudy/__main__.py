"""`python -m llmstudy`: the command, where nothing could be installed."""

from llmstudy.cli import main

main()
