"""The analyst's panel: `panel` opens it in a notebook, `page` shows an outcome beside the base
case."""

from llmstudy.explore.panel import Panel, open_panel

__all__ = ["Panel", "open_panel"]
