"""The analyst's panel of sliders: `panel` opens it in a notebook, `page` draws an outcome."""

from llmstudy.explore.panel import Panel, open_panel

__all__ = ["Panel", "open_panel"]
