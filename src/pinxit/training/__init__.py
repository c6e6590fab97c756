"""The loop that trains any recipe: time, disk and screen."""
