"""Two runs side by side: what changed and why, and the forecast of the one against the bills of the
other.
"""
