"""The studio: paint in the browser, with every method."""
