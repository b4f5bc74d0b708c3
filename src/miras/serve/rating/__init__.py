"""`miras serve --rate`: people rate conversations in a browser, each answer in its sheet before it is told."""
