"""Two runs compared: what changed and why, and the forecast of the first against later bills."""
