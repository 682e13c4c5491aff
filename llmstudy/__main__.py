"""Runs the command as `python -m llmstudy`, where the package is not installed."""

from llmstudy.cli import main

main()
