"""The pages: plain HTML, CSS and ES modules, served from this folder as they are."""
