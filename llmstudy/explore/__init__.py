"""The analyst's panel: `panel` holds the sliders, `page` the tables and charts that they move."""

from llmstudy.explore.panel import Panel, open_panel

__all__ = ["Panel", "open_panel"]
